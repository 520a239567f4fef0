# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Variables of Ansible in the types that the roles declare; the rules are in typed_values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.template import is_trusted_as_template, trust_as_template

from . import role_specs
from .typed_values import typed

PROJECT = Path(__file__).resolve().parents[3]
FILTER = "cloudwatt.socle.typed"


@cache
def specs() -> dict[str, dict[str, Any]]:
    """The specification of every variable of every role."""
    return role_specs.load(PROJECT).specs


def convert(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `variables` that a role has and that are of another type than it declares, converted."""
    known = specs()
    pairs = ((name, value, typed(known[name], value, template)) for name, value in variables.items() if name in known)
    return {name: converted for name, value, converted in pairs if converted is not value}


def template(text: str, kind: str) -> str:
    """A template whose result is of type `kind`; its own would be text, whatever the expression in it gives."""
    if FILTER in text or not is_trusted_as_template(text):
        return text
    trusted: str = trust_as_template(
        f"{{% set socle_given %}}{text}{{% endset %}}{{{{ socle_given | {FILTER}('{kind}') }}}}"
    )
    return trusted
