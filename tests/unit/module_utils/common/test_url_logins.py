# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""URLs with logins: downloads use the login, apt gets it in a separate file, and no output shows it."""

from __future__ import annotations

import base64
import hashlib
import string
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import debian_archive
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import url_logins as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import node_image
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import config_files
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import site_model

PASSWORDS = st.text(list(map(chr, range(33, 127))), min_size=1, max_size=40)
APT_HELPER = Path("/usr/lib/apt/apt-helper")
NASTY = "p@ss/w%rd#1:$x"
URL = f"http://user:{quote(NASTY, safe='')}@mirror.example/debian"


@pytest.fixture
def mirror():
    """A server that requires a login. One of its paths redirects to another host, which must not get the login."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            if self.path.endswith("/moved"):
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{server.server_port}/debian/file")
            elif self.headers.get("Authorization") == "Basic " + base64.b64encode(f"user:{NASTY}".encode()).decode():
                self.send_response(200)
            else:
                self.send_response(401)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, format, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:{quote(NASTY, safe='')}@127.0.0.1:{server.server_port}/debian", asked
    server.shutdown()


def test_validation_asks_a_mirror_that_wants_a_login(mirror):
    url, _asked = mirror
    assert site_validate.fetch(f"{url}/dists/trixie/InRelease") == ""
    wrong = url.replace("user:", "user:other")
    said = site_validate.fetch(wrong)
    assert "401" in said
    assert quote(NASTY, safe="") not in said


def fetched(url: str, path: str, directory: Path) -> Path:
    pin = debian_archive.Pin(path, hashlib.sha256(b"content").hexdigest())
    return debian_archive.obtain(url, pin, "testing", "1", "/none.gpg", directory).path


@pytest.mark.skipif(not APT_HELPER.exists(), reason="apt is not here")
def test_packages_are_fetched_with_a_login_that_no_error_shows(mirror, tmp_path):
    url, asked = mirror
    assert fetched(url, "pool/x.deb", tmp_path).read_bytes() == b"content"
    assert asked[-1][0] == "/debian/pool/x.deb"
    with pytest.raises(debian_archive.ArchiveError) as fault:
        fetched(url.replace("user:", "user:other"), "pool/y.deb", tmp_path)
    assert "401" in str(fault.value)
    assert not any(form in str(fault.value) for form in engine.passwords(url))


@pytest.mark.skipif(not APT_HELPER.exists(), reason="apt is not here")
def test_a_login_is_not_sent_where_a_mirror_points(mirror, tmp_path):
    url, asked = mirror
    with pytest.raises(debian_archive.ArchiveError):
        fetched(url, "moved", tmp_path)
    assert {path: given is not None for path, given in asked} == {"/debian/moved": True, "/debian/file": False}


@given(PASSWORDS)
def test_every_password_comes_back_from_a_url_and_is_never_shown(password):
    url = f"https://user:{quote(password, safe='')}@mirror.example:8080/debian"
    assert engine.login(url) == ("user", password)
    assert engine.bare(url) == "https://mirror.example:8080/debian"
    assert engine.shown(f"why: {url} (404)") == "why: https://********@mirror.example:8080/debian (404)"
    assert password in engine.passwords({"list": [url]})


@given(st.text(string.printable, min_size=1))
def test_no_text_breaks_them(text):
    for function in (engine.shown, engine.bare, engine.passwords):
        function(f"http://{text}")
    try:
        engine.login(f"http://{text}")
    except engine.LoginError as fault:
        assert text not in str(fault) or len(text) < 4


@pytest.mark.parametrize(
    "login", ["user:p/q", "user:p#q", "user:p?q", "user", "user:", ":p", "user:a%20b", "user:%C3%A9"]
)
def test_what_apt_cannot_be_given_is_refused(login):
    with pytest.raises(engine.LoginError):
        engine.login(f"http://{login}@mirror/debian")


def test_an_address_without_a_login_is_left_alone():
    for url in ("http://mirror/debian", "http://[fd00::1]:80/debian", "", "text with a @ in it"):
        assert engine.login(url) is None
        assert (engine.bare(url), engine.passwords(url)) == (url, [])
    assert engine.apt_auth(["http://mirror/debian", ""]) == ""


def test_apt_gets_each_login_once_and_for_its_own_path():
    proxy = "http://proxy-user:secret@proxy.example:3128/"
    assert engine.apt_auth([URL, URL, proxy]) == (
        f"machine http://mirror.example/debian/\nlogin user\npassword {NASTY}\n\n"
        "machine http://proxy.example:3128\nlogin proxy-user\npassword secret\n"
    )


def test_a_diff_of_the_logins_shows_no_password_however_short():
    text = engine.apt_auth(["http://user:abc@mirror/debian"])
    sides = config_files.redact(text, text.replace("abc", "xyz"), [])
    assert len(sides) == 2
    for side in sides:
        assert "abc" not in side and "xyz" not in side
        assert "mirror/debian" in side


@pytest.mark.parametrize("field", ["value", "reason", "remedy"])
def test_no_violation_shows_a_login(field):
    fields = {"value": "", "reason": "", "remedy": ""} | {field: f"no answer: {URL}"}
    violation = site_model.Violation("site.yml", 1, "base_mirror", **fields)
    assert quote(NASTY, safe="") not in f"{violation} {vars(violation)}"
    assert "mirror.example/debian" in str(violation)


def test_a_long_url_is_masked_before_it_is_cut():
    assert "ppppp" not in site_model.brief(f"http://user:{'p' * 100}@mirror/debian")


def test_an_image_is_built_with_a_login_that_only_root_reads(tmp_path):
    spec = node_image.ImageSpec(("hello",), "trixie", URL, URL)
    sources = spec.prepare(tmp_path)
    logins = sources.with_name(node_image.AUTH)
    assert NASTY in logins.read_text()
    assert logins.stat().st_mode & 0o077 == 0
    argv = node_image.mmdebstrap_argv(spec, tmp_path / "tree", sources, tmp_path)
    for text in (sources.read_text(), spec.sources(), " ".join(argv)):
        assert not any(form in text for form in engine.passwords(URL))
    assert f'--aptopt=Dir::Etc::netrc "{logins}"' in argv


@pytest.mark.skipif(not APT_HELPER.exists(), reason="apt is not here")
def test_apt_itself_signs_in_by_that_file(mirror, tmp_path):
    url, _asked = mirror
    logins = tmp_path / "auth.conf"
    logins.write_text(engine.apt_auth([url]))
    options = ["-o", f"Dir::Etc::netrc={logins}", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=0"]
    target = tmp_path / "file"
    done = subprocess.run([APT_HELPER, *options, "download-file", f"{engine.bare(url)}/file", target],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert target.read_bytes() == b"content", done.stderr
