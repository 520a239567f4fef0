# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Plugins that task processes no longer load, and module payloads that are reused by later runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.cloudwatt.socle.plugins.callback import head_start

ROOT = Path(__file__).resolve().parents[3]

LOADED_BY_A_TEMPLATE = """
import sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
from ansible_collections.cloudwatt.socle.plugins.callback import head_start
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
if {preload}:
    head_start.preload()
before = set(sys.modules)
variables = {{"facts": {{"processor_vcpus": 2, "memtotal_mb": 8192}}}}
text = "{{{{ '/a/b' | dirname }}}} {{{{ facts | cloudwatt.socle.workers }}}} {{{{ 1 is odd }}}}"
assert Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text)) == "/a 2 True"
kinds = "ansible.plugins.", "ansible_collections.cloudwatt."
print(*(name for name in sys.modules if name not in before and name.startswith(kinds)))
"""


def loaded(preload: bool) -> list[str]:
    """Return the plugins that the first template of a process loads."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    command = [sys.executable, "-c", LOADED_BY_A_TEMPLATE.format(preload=preload)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_template_loads_a_plugin_any_more() -> None:
    assert loaded(preload=False)
    assert loaded(preload=True) == []


@pytest.mark.parametrize("place", ["modules/one.py", "module_utils/one.py", "module_utils/service/units/one.py"])
def test_payloads_are_kept_for_what_they_are_made_from(tmp_path: Path, place: str) -> None:
    root, run = tmp_path / "checkout", tmp_path / "run"
    module = root / "plugins" / place
    module.parent.mkdir(parents=True)
    run.mkdir()
    module.write_text("one")
    head_start.share(root, run)
    (run / "ansiballz_cache" / "one-payload").write_text("packed")
    again = tmp_path / "again"
    again.mkdir()
    head_start.share(root, again)
    assert (again / "ansiballz_cache" / "one-payload").read_text() == "packed"
    module.write_text("two")
    changed = tmp_path / "changed"
    changed.mkdir()
    head_start.share(root, changed)
    assert list((changed / "ansiballz_cache").iterdir()) == []


def test_a_folder_that_others_may_write_to_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / ".ansible" / "payloads"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    run = tmp_path / "run"
    run.mkdir()
    head_start.share(tmp_path, run)
    assert list(run.iterdir()) == []
