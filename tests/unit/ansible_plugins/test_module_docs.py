# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""What a module documents is what it takes, for every module that keeps its specification in ARGUMENTS."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import yaml

from ansible_collections.cloudwatt.socle.plugins import modules

DEFAULTS = {"required": False, "default": None, "choices": None, "elements": None, "type": "str"}


def specified():
    for info in pkgutil.iter_modules(modules.__path__):
        module = importlib.import_module(f"{modules.__name__}.{info.name}")
        if hasattr(module, "ARGUMENTS"):
            yield pytest.param(module, id=info.name)


def differences(where, documented, taken):
    yield from (f"{where}{name}: documented only" for name in documented.keys() - taken.keys())
    yield from (f"{where}{name}: not documented" for name in taken.keys() - documented.keys())
    for name in documented.keys() & taken.keys():
        left, right = documented[name], taken[name]
        for fact, default in DEFAULTS.items():
            if left.get(fact, default) != right.get(fact, default):
                yield f"{where}{name}.{fact}: {left.get(fact)!r} documented, {right.get(fact)!r} taken"
        yield from differences(f"{where}{name}.", left.get("suboptions") or {}, right.get("options") or {})


@pytest.mark.parametrize("module", list(specified()))
def test_documentation_and_argument_specification_agree(module):
    documented = yaml.safe_load(module.DOCUMENTATION)
    assert list(differences("", documented["options"], module.ARGUMENTS)) == []
    yaml.safe_load(module.EXAMPLES)
    yaml.safe_load(module.RETURN)
