# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Values of variables in the types that the roles' argument specifications declare. Pure.

``-e name=value`` gives text, whatever the value looks like, and so do quotes in a file and many sources of inventories.
Ansible checks such values against the specification but leaves them as they are: ``7 * "86400"`` is a long text, and
``"false"`` is true. :func:`typed` is what turns them into what they mean, for all roles at once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Spec = Mapping[str, Any]
TRUE = {"true", "yes", "on", "y", "t", "1"}
FALSE = {"false", "no", "off", "n", "f", "0"}
SCALARS = ("int", "float", "bool")


def is_template(value: Any) -> bool:
    """Whether only Ansible can tell what a text will be."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def typed(spec: Spec, value: Any, template: Callable[[str, str], Any] | None = None) -> Any:
    """``value`` in the type that ``spec`` declares, at every depth; what cannot be converted is returned as it is.

    Text is converted where one reading of it is possible: whole numbers, numbers, Ansible's words for booleans, and
    lists and mappings in JSON. A whole number becomes text where text is wanted. ``template`` (text, type) says what
    becomes of a template where a number or a boolean is wanted.
    """
    kind = str(spec.get("type", "str"))
    if is_template(value):
        return template(value, kind) if template and kind in SCALARS else value
    if isinstance(value, str) and kind in READERS:
        try:
            value = READERS[kind](value.strip())
        except ValueError:
            return value
    if kind == "str" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind == "list" and isinstance(value, list) and "elements" in spec:
        item = {"type": spec["elements"], "options": spec.get("options")}
        return _kept(value, [typed(item, element, template) for element in value])
    if kind == "dict" and isinstance(value, dict) and spec.get("options"):
        options = spec["options"]
        return _kept(
            value, {key: typed(options[key], item, template) if key in options else item for key, item in value.items()}
        )
    return value


def _kept(value: Any, converted: Any) -> Any:
    """``value`` itself where nothing was converted, so that it keeps what Ansible knows of it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return value if all(converted[key] is item for key, item in items) else converted


def convertible(spec: Spec, value: Any) -> bool:
    """Whether a text is one that :func:`typed` converts."""
    return isinstance(value, str) and not isinstance(typed(spec, value), str)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        raise ValueError(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _truth(text: str) -> bool:
    word = text.lower()
    if word not in TRUE | FALSE:
        raise ValueError(text)
    return word in TRUE


def _structure(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        found = json.loads(text)
        if not isinstance(found, kind):
            raise ValueError(text)
        return found

    return read


READERS: dict[str, Callable[[str], Any]] = {
    "int": _whole,
    "float": _number,
    "bool": _truth,
    "list": _structure(list),
    "dict": _structure(dict),
}
