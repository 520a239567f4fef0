# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Every check of the OpenStack Security Guide, on a tree that passes it and on trees that fail it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import security_guide as guide
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import security_guide_facts as facts
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import security_guide_host as host
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import security_guide_services as services
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening.rules import Waiver
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import security_guide_page

KEYSTONE, NOVA, NEUTRON = "/etc/keystone/keystone.conf", "/etc/nova/nova.conf", "/etc/neutron/neutron.conf"
CINDER, GLANCE, MANILA = "/etc/cinder/cinder.conf", "/etc/glance/glance-api.conf", "/etc/manila/manila.conf"
BARBICAN, HORIZON = "/etc/barbican/barbican.conf", "/etc/openstack-dashboard/local_settings.py"
PASTE = "/etc/barbican/barbican-api-paste.ini"
AUTHTOKEN = """
[keystone_authtoken]
www_authenticate_uri = https://api.example:5000/v3
auth_url = https://internal.example:5000/v3
"""
FILES = {
    KEYSTONE: "[DEFAULT]\nlog_dir = /var/log/keystone\n[token]\nprovider = fernet\n",
    "/etc/keystone/logging.conf": "[loggers]\nkeys = root\n",
    "/etc/keystone/keystone-uwsgi.ini": "[uwsgi]\nhttps-socket = 192.0.2.1:5000,node.pem,node.key\n",
    NOVA: f"[DEFAULT]\n{AUTHTOKEN}[glance]\nendpoint_override = https://internal.example:9292\n"
          "[key_manager]\nbackend = barbican\n",
    "/etc/nova/api-paste.ini": "[composite:metadata]\nuse = egg:Paste#urlmap\n",
    "/etc/nova/rootwrap.conf": "[DEFAULT]\n",
    NEUTRON: f"[DEFAULT]\ncore_plugin = ml2\n{AUTHTOKEN}",
    "/etc/neutron/rootwrap.conf": "[DEFAULT]\n",
    GLANCE: f"[paste_deploy]\nflavor = keystone+cachemanagement\n{AUTHTOKEN}",
    "/etc/glance/glance-image-import.conf": "[import_filtering_opts]\n",
    "/etc/glance/policy.d/00_default_policy.yaml": '#"copy_from": ""\n',
    CINDER: "[DEFAULT]\nglance_api_servers = https://a.example:9292,https://b.example:9292\nenabled_backends = nfs\n"
            f"{AUTHTOKEN}[key_manager]\nbackend = barbican\n[nfs]\nnas_secure_file_operations = auto\n",
    MANILA: f"[DEFAULT]\n{AUTHTOKEN}",
    BARBICAN: f"[DEFAULT]\n{AUTHTOKEN}",
    PASTE: "[composite:main]\n/v1: barbican-api-keystone\n[pipeline:barbican-api-keystone]\n"
           "pipeline = cors authtoken context apiapp\n",
    HORIZON: "from horizon.utils import secret_key\nSECRET_KEY = secret_key.generate()\nCSRF_COOKIE_SECURE = True\n"
             "SESSION_COOKIE_SECURE = True\nENFORCE_PASSWORD_CHECK = True\n"
             "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')\n"
             "HORIZON_CONFIG = {'disable_password_reveal': True, 'bugs': secret_key}\n"
             "HORIZON_CONFIG['password_validator'] = {'regex': '^.{14,}$', 'help_text': _('Longer')}\n",
}  # fmt: skip
PACKAGES = [service.packages[0] for service in services.SERVICES]
UNITS = ["keystone", "nova-api", "neutron-api", "glance-api", "cinder-api", "manila-api", "barbican-api", "apache2"]
LISTENERS = {port: [facts.Listener("192.0.2.1", port, "TLSv1.3")] for port in (5000, 9696)}


class Tree:
    """The file system of a node with every service, and the owners of its files."""

    def __init__(self, root):
        self.root = root
        self.owners, self.listeners = {}, dict(LISTENERS)
        status = "".join(f"Package: {name}\nStatus: install ok installed\n\n" for name in PACKAGES)
        self.write("/var/lib/dpkg/status", status)
        for unit in UNITS:
            self.write(f"/etc/systemd/system/multi-user.target.wants/{unit}.service", "")
        for path, text in FILES.items():
            self.write(path, text)
        for service in services.SERVICES:
            self.mode(service.directory, 0o750)

    def write(self, path, text, mode=0o640):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def add(self, path, section, line):
        """Append an option to the file."""
        self.write(path, (self.root / path.lstrip("/")).read_text() + f"\n[{section}]\n{line}\n")

    def swap(self, path, before, after):
        text = (self.root / path.lstrip("/")).read_text()
        assert before in text
        self.write(path, text.replace(before, after))

    def mode(self, path, mode):
        (self.root / path.lstrip("/")).chmod(mode)

    def remove(self, path):
        (self.root / path.lstrip("/")).unlink()

    def snapshot(self):
        """Return the snapshot of the node. The owners are simulated, because only root can change owners."""
        seen = host.look(str(self.root))
        stats = {}
        for path, stat in seen.stats.items():
            service = next(service for service in services.SERVICES if path.startswith(service.directory))
            owner, group = self.owners.get(path, (service.owner, service.group))
            stats[path] = dataclasses.replace(stat, owner=owner, group=group)
        return dataclasses.replace(seen, stats=stats, listeners=self.listeners)

    def said(self, name):
        return guide.evaluate(self.snapshot())[name]


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def owner(path, name, group):
    return lambda tree: tree.owners.update({path: (name, group)})


def mode(folder, path, bits=0o644):
    def change(tree):
        tree.mode(folder, 0o755)
        tree.mode(path, bits)

    return change


def option(path, section, line):
    return lambda tree: tree.add(path, section, line)


def swap(path, before, after):
    return lambda tree: tree.swap(path, before, after)


def socket_of(port, *listeners):
    return lambda tree: tree.listeners.update({port: listeners})


PLAIN = facts.Listener("192.0.2.1", 5000, why="WRONG_VERSION_NUMBER")
AUTH = "keystone_authtoken"
#: One or more changes that make each check fail, and a text in its reason.
FAILING = {
    "Check-Identity-01": [
        (owner(KEYSTONE, "root", "keystone"), f"{KEYSTONE}: belongs to root:keystone; wanted: keystone:keystone"),
        (owner("/etc/keystone/logging.conf", "root", "root"), "logging.conf: belongs to root:root"),
        (owner("/etc/keystone", "root", "root"), "/etc/keystone: belongs to root:root"),
        (lambda tree: tree.remove(KEYSTONE), f"{KEYSTONE}: belongs to nobody, it is not there"),
    ],
    "Check-Identity-02": [
        (mode("/etc/keystone", KEYSTONE), f"{KEYSTONE}: has the mode 0644; wanted: 0640 or stricter"),
    ],
    "Check-Identity-03": [
        (socket_of(5000, LISTENERS[5000][0], PLAIN), "192.0.2.1:5000: talks no TLS: WRONG_VERSION_NUMBER"),
        (socket_of(5000), "port 5000: nothing listens"),
    ],
    "Check-Identity-05": [
        (option(KEYSTONE, "oslo_middleware", "max_request_body_size = 10485760"), "10485760; wanted: at most 114688"),
        (option(KEYSTONE, "DEFAULT", "max_request_body_size = 0"), "[DEFAULT] max_request_body_size is 0"),
        (option(KEYSTONE, "oslo_middleware", "max_request_body_size = many"), "is many"),
    ],
    "Check-Identity-06": [
        (option(KEYSTONE, "DEFAULT", "admin_token = hunter2"), "[DEFAULT] admin_token is set"),
        (
            lambda tree: tree.write(
                "/etc/keystone/keystone-paste.ini", "[filter:admin_token_auth]\nuse = egg:keystone#admin_token_auth\n"
            ),
            "keystone-paste.ini: admin_token_auth is there",
        ),
    ],
    "Check-Identity-07": [
        (option(KEYSTONE, "DEFAULT", "insecure_debug = True"), "[DEFAULT] insecure_debug is True; wanted: false"),
        (option(KEYSTONE, "DEFAULT", "insecure_debug = maybe"), "insecure_debug is maybe"),
    ],
    "Check-Identity-08": [(swap(KEYSTONE, "fernet", "uuid"), "[token] provider is uuid; wanted: fernet")],
    "Check-Dashboard-01": [(owner(HORIZON, "root", "root"), "belongs to root:root; wanted: root:horizon")],
    "Check-Dashboard-02": [(mode("/etc/openstack-dashboard", HORIZON), "has the mode 0644")],
    "Check-Dashboard-03": [(swap(HORIZON, "CSRF", "DISALLOW_IFRAME_EMBED = False\nCSRF"), "EMBED is False")],
    "Check-Dashboard-04": [
        (swap(HORIZON, "CSRF_COOKIE_SECURE = True", ""), "not set (by default False); wanted: True"),
        (swap(HORIZON, "CSRF_COOKIE_SECURE = True", "CSRF_COOKIE_SECURE = is_tls()"), "'<computed>'"),
    ],
    "Check-Dashboard-05": [(swap(HORIZON, "SESSION_COOKIE_SECURE = True", ""), "SESSION_COOKIE_SECURE is not set")],
    "Check-Dashboard-06": [(swap(HORIZON, "CSRF", "SESSION_COOKIE_HTTPONLY = False\nCSRF"), "HTTPONLY is False")],
    "Check-Dashboard-07": [(swap(HORIZON, "{'dis", "{'password_autocomplete': 'on', 'dis"), "'on'; wanted: 'off'")],
    "Check-Dashboard-08": [(swap(HORIZON, "reveal': True", "reveal': False"), "DISABLE_PASSWORD_REVEAL is False")],
    "Check-Dashboard-09": [(swap(HORIZON, "CHECK = True", "CHECK = False"), "ENFORCE_PASSWORD_CHECK is False")],
    "Check-Dashboard-10": [
        (swap(HORIZON, "^.{14,}$", ".*"), "PASSWORD_VALIDATOR is '.*'"),
        (swap(HORIZON, "['password_validator']", "['other']"), "not set (by default '.*')"),
    ],
    "Check-Dashboard-11": [(swap(HORIZON, "SECURE_PROXY_SSL_HEADER", "OTHER"), "not set (by default None)")],
    "Check-Compute-01": [(owner("/etc/nova", "nova", "nova"), "/etc/nova: belongs to nova:nova; wanted: root:nova")],
    "Check-Compute-02": [(mode("/etc/nova", "/etc/nova/rootwrap.conf"), "rootwrap.conf: has the mode 0644")],
    "Check-Compute-03": [(option(NOVA, "api", "auth_strategy = noauth2"), "[api] auth_strategy is noauth2")],
    "Check-Compute-04": [
        (swap(NOVA, "uri = https", "uri = http"), "www_authenticate_uri is http://api.example:5000/v3; wanted: https"),
        (swap(NOVA, "www_authenticate_uri", "other"), "www_authenticate_uri is not set"),
        (option(NOVA, AUTH, "insecure = yes"), "[keystone_authtoken] insecure is yes"),
    ],
    "Check-Compute-05": [
        (swap(NOVA, "endpoint_override", "other"), "[glance] endpoint_override is not set"),
        (option(NOVA, "glance", "api_servers = https://a:9292,http://b:9292"), "http://b:9292; wanted: https"),
        (option(NOVA, "glance", "insecure = 1"), "[glance] insecure is 1"),
    ],
    "Check-Block-01": [(owner(CINDER, "cinder", "cinder"), "belongs to cinder:cinder")],
    "Check-Block-02": [(mode("/etc/cinder", CINDER, 0o660), "has the mode 0660")],
    "Check-Block-03": [(option(CINDER, "DEFAULT", "auth_strategy = noauth"), "auth_strategy is noauth")],
    "Check-Block-04": [(swap(CINDER, "auth_url = https", "auth_url = http"), "auth_url is http://")],
    "Check-Block-05": [
        (option(CINDER, "nova", "insecure = true"), "[nova] insecure is true"),
        (option(CINDER, "DEFAULT", "nova_api_insecure = true"), "[DEFAULT] nova_api_insecure is true"),
    ],
    "Check-Block-06": [
        (swap(CINDER, "https://b", "http://b"), "glance_api_servers is https://a.example:9292,http://b"),
        (option(CINDER, "DEFAULT", "glance_api_insecure = true"), "glance_api_insecure is true"),
    ],
    "Check-Block-07": [
        (option(CINDER, "DEFAULT", "nas_secure_file_permissions = false"), "[DEFAULT] nas_secure_file_permissions"),
        (swap(CINDER, "operations = auto", "operations = false"), "[nfs] nas_secure_file_operations is false"),
    ],
    "Check-Block-08": [(option(CINDER, "DEFAULT", "osapi_max_request_body_size = 999999"), "body_size is 999999")],
    "Check-Block-09": [
        (swap(CINDER, "backend = barbican", ""), f"{CINDER}: [key_manager] backend is not set"),
        (swap(NOVA, "= barbican", "= nova.keymgr.conf_key_mgr.ConfKeyManager"), f"{NOVA}: [key_manager] backend"),
    ],
    "Check-Image-01": [(owner("/etc/glance", "glance", "glance"), "belongs to glance:glance; wanted: root:glance")],
    "Check-Image-02": [(mode("/etc/glance", GLANCE), "has the mode 0644")],
    "Check-Image-03": [
        (swap(GLANCE, "flavor = keystone", "flavor = caching"), "[paste_deploy] flavor is caching"),
        (swap(GLANCE, "flavor = ", "other = "), "[paste_deploy] flavor is not set"),
        (option(GLANCE, "DEFAULT", "auth_strategy = noauth"), "auth_strategy is noauth"),
    ],
    "Check-Image-04": [(option(GLANCE, AUTH, "insecure = on"), "insecure is on")],
    "Check-Image-05": [
        (lambda tree: tree.write("/etc/glance/policy.json", '{"copy_from": ""}'), "policy.json: copy_from is ''"),
        (lambda tree: tree.write("/etc/glance/policy.d/01.yaml", '"copy_from": "@"\n'), "01.yaml: copy_from is '@'"),
        (
            option("/etc/glance/glance-image-import.conf", "import_filtering_opts", "allowed_ports = []"),
            "glance-image-import.conf: [import_filtering_opts] allowed_ports is []",
        ),
    ],
    "Check-Shared-01": [(owner(MANILA, "root", "root"), "belongs to root:root; wanted: root:manila")],
    "Check-Shared-02": [(mode("/etc/manila", MANILA), "has the mode 0644")],
    "Check-Shared-03": [(option(MANILA, "DEFAULT", "auth_strategy = noauth"), "auth_strategy is noauth")],
    "Check-Shared-04": [(option(MANILA, AUTH, "insecure = true"), "insecure is true")],
    "Check-Shared-05": [(option(MANILA, "nova", "insecure = true"), "[nova] insecure is true")],
    "Check-Shared-06": [(option(MANILA, "neutron", "insecure = true"), "[neutron] insecure is true")],
    "Check-Shared-07": [(option(MANILA, "cinder", "insecure = true"), "[cinder] insecure is true")],
    "Check-Shared-08": [(option(MANILA, "oslo_middleware", "max_request_body_size = 114689"), "is 114689")],
    "Check-Neutron-01": [(owner("/etc/neutron/rootwrap.conf", "root", "root"), "wanted: root:neutron")],
    "Check-Neutron-02": [(mode("/etc/neutron", NEUTRON, 0o660), "0660; wanted: 0640 or stricter")],
    "Check-Neutron-03": [(option(NEUTRON, "DEFAULT", "auth_strategy = noauth"), "auth_strategy is noauth")],
    "Check-Neutron-04": [(swap(NEUTRON, "www_authenticate_uri = https", "auth_uri = http"), "auth_uri is http://")],
    "Check-Neutron-05": [(socket_of(9696, dataclasses.replace(PLAIN, port=9696)), "192.0.2.1:9696: talks no TLS")],
    "Check-Key-Manager-01": [(owner(BARBICAN, "barbican", "barbican"), "wanted: root:barbican")],
    "Check-Key-Manager-02": [(mode("/etc/barbican", PASTE), "barbican-api-paste.ini: has the mode 0644")],
    "Check-Key-Manager-03": [
        (swap(PASTE, "authtoken ", ""), "[pipeline:barbican-api-keystone] pipeline is cors context apiapp"),
        (swap(PASTE, "/v1: barbican-api-keystone", "/v1: barbican_api"), "[pipeline:barbican_api] pipeline is not set"),
        (lambda tree: tree.remove(PASTE), f"{PASTE}: is not there"),
    ],
    "Check-Key-Manager-04": [(option(BARBICAN, AUTH, "insecure = true"), "insecure is true")],
}


def test_there_are_54_active_checks_and_each_can_fail():
    assert len(guide.CHECKS) == len(guide.BY_NAME) == 54
    assert list(FAILING) == list(guide.BY_NAME)
    assert "Check-Identity-04" not in guide.BY_NAME


@pytest.mark.parametrize("name", guide.BY_NAME)
def test_a_check_holds(tree, name):
    said = tree.said(name)
    assert said["state"] == "pass", said["why"]
    assert said["why"]
    assert said["files"]


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [(name, change, reason) for name, cases in FAILING.items() for change, reason in cases],
    ids=[f"{name}-{number}" for name, cases in FAILING.items() for number in range(len(cases))],
)
def test_a_check_does_not_hold_and_says_why(tree, name, change, reason):
    change(tree)
    said = tree.said(name)
    assert said["state"] == "fail"
    assert reason in said["why"]
    assert said["files"]


def test_no_secret_is_told(tree):
    tree.add(KEYSTONE, "DEFAULT", "admin_token = hunter2")
    assert "hunter2" not in str(guide.evaluate(tree.snapshot()))


@pytest.mark.parametrize("text", ["[DEFAULT\n", "no = section\n", "[DEFAULT]\nwords\n", "[DEFAULT]\n= 1\n", "\udcff"])
def test_a_file_that_cannot_be_read_is_a_failure_with_a_reason(tree, text):
    (tree.root / "etc/keystone/keystone.conf").write_text(text, errors="surrogateescape")
    said = tree.said("Check-Identity-07")
    assert said["state"] == "fail"
    assert KEYSTONE in said["why"]
    assert tree.said("Check-Identity-01")["state"] == "pass"


def test_settings_that_are_no_python_are_a_failure_with_a_reason(tree):
    tree.write(HORIZON, "CSRF_COOKIE_SECURE = (\n")
    assert "is malformed" in tree.said("Check-Dashboard-04")["why"]


def test_the_last_file_wins(tree):
    tree.write("/etc/keystone/keystone.conf.d/10-site.conf", "[token]\nprovider = uuid\n")
    said = tree.said("Check-Identity-08")
    assert said["files"] == ["/etc/keystone/keystone.conf.d/10-site.conf"]
    tree.write("/etc/keystone/keystone.conf.d/20-site.conf", "[TOKEN]\nprovider: 'fernet'\n")
    assert tree.said("Check-Identity-08")["state"] == "pass"
    tree.write("/etc/openstack-dashboard/local_settings.d/_10.py", "CSRF_COOKIE_SECURE = False\n")
    assert tree.said("Check-Dashboard-04")["state"] == "fail"


def test_what_is_not_on_the_node_is_not_applicable(tree):
    before = "Package: cinder-common\nStatus: install ok installed"
    tree.swap(host.STATUS, before, "Package: cinder-common\nStatus: deinstall ok config-files")
    said = guide.evaluate(tree.snapshot())
    assert {item["state"] for name, item in said.items() if "-Block-" in name} == {"notapplicable"}
    assert said["Check-Block-01"]["why"] == "cinder-common is not installed"
    assert said["Check-Compute-01"]["state"] == "pass"


def test_a_package_that_an_image_brought_and_nothing_starts_is_not_judged(tree):
    tree.remove("/etc/systemd/system/multi-user.target.wants/keystone.service")
    assert "no unit keystone is enabled or runs" in tree.said("Check-Identity-01")["why"]


def test_a_hypervisor_is_not_asked_for_an_api(tree):
    wants = "/etc/systemd/system/multi-user.target.wants"
    tree.remove(f"{wants}/nova-api.service")
    tree.write(f"{wants}/nova-compute.service", "")
    tree.write(NOVA, "[glance]\nendpoint_override = https://internal.example:9292\n")
    states = {name: item["state"] for name, item in guide.evaluate(tree.snapshot()).items() if "-Compute-" in name}
    assert list(states.values()) == ["pass", "pass", "notapplicable", "notapplicable", "pass"]


def test_a_node_without_packages_says_nothing_rather_than_yes(tmp_path):
    with pytest.raises(OSError, match="status"):
        host.look(str(tmp_path))


@pytest.mark.parametrize(("line", "found"), [
    ("0: 0100007F:1388 00000000:0000 0A", [("127.0.0.1", 5000)]),
    ("0: 0100007F:1388 0100007F:A000 01", []),
    ("0: B80D0120000000000000000001000000:25E0 0:0 0A", [("2001:db8::1", 9696)]),
    ("", []),
])  # fmt: skip
def test_listening_sockets(line, found):
    assert facts.listening(f"  sl  local_address rem_address st\n{line}\n") == found


def test_the_port_is_that_of_the_configuration(tree):
    assert services.ports(services.IDENTITY, tree.snapshot()) == [5000]
    tree.write("/etc/socle/uwsgi/keystone.ini", "[uwsgi]\nhttps-socket = 192.0.2.1:5443,node.pem,node.key\n")
    assert services.ports(services.IDENTITY, tree.snapshot()) == [5000, 5443]
    assert services.ports(services.NEUTRON, tree.snapshot()) == [9696]
    assert services.ports(services.COMPUTE, tree.snapshot()) == []


class Server:
    """A server on the loopback. With a certificate it uses TLS, without one plain HTTP."""

    def __init__(self, certificate=None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
                if self.context:
                    self.context.wrap_socket(peer, server_side=True).close()
                else:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    peer.close()
            except OSError:  # the client has aborted the handshake
                continue


@pytest.fixture
def certificate(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    pem, key = tmp_path / "node.pem", tmp_path / "node.key"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-subj", "/CN=node", "-days", "2", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(argv, check=True, capture_output=True)
    return pem, key


def test_a_handshake_tells_tls_from_plain_http(certificate):
    secure, plain = Server(certificate), Server()
    assert host.shake("127.0.0.1", secure.port).tls in ("TLSv1.2", "TLSv1.3")
    told = host.shake("127.0.0.1", plain.port)
    assert (told.tls, bool(told.why)) == ("", True)


def test_a_socket_that_nobody_answers_is_no_tls():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "refused" in host.shake("127.0.0.1", taken.getsockname()[1]).why


def test_every_socket_on_the_port_is_tried(tree, certificate):
    plain = Server()
    tree.write("/etc/keystone/keystone-uwsgi.ini", f"[uwsgi]\nhttp-socket = 127.0.0.1:{plain.port}\n")
    known = host.with_sockets(tree.snapshot()).listeners
    assert [(item.address, item.tls) for item in known[plain.port]] == [("127.0.0.1", "")]


def test_units_that_run_count_though_nobody_enabled_them(tmp_path):
    os.makedirs(tmp_path / "sys/fs/cgroup/system.slice/nova-compute.service")
    assert host.units(str(tmp_path)) == {"nova-compute"}


def test_the_page_has_every_check_and_the_waivers():
    waiver = Waiver("Check-Identity-05", ("control",), "Certificates of many users are large.", "A limit of HAProxy.")
    text = security_guide_page.page([waiver])
    assert all(f'<a id="{name.lower()}"></a>' in text for name in guide.BY_NAME)
    assert "Certificates of many users" in text
    assert "None." in security_guide_page.page([])
