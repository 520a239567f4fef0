# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Every test has an assertion that can fail."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

Function = ast.FunctionDef | ast.AsyncFunctionDef

ASSERTING = {".raises", ".warns", ".fail", ".run_expect", ".check_schema", ".validate"}
"""Functions of libraries that fail a test by themselves. A leading dot stands for a module or an object."""
AS_LONG = {"sorted", "zip", "enumerate", "map", "reversed", "set", "list", "items", "keys", "values", "split"}
"""Functions whose result is empty only if an argument is empty."""
LISTED = ("tests/unit/**/*.py", "tests/conftest.py", "molecule/**/*.py")


def asserts(node: ast.AST, known: Collection[str]) -> bool:
    """Return whether a statement or expression is an assertion, or a call of a function that asserts."""
    match node:
        case ast.Assert():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in known
        case ast.Call(func=ast.Attribute(attr=name)):
            return f".{name}" in known
    return False


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Yield functions and fixtures with their names. The name of a method begins with a dot."""
    for node in ast.walk(tree):
        dot = "." if isinstance(node, ast.ClassDef) else ""
        yield from (
            (f"{dot}{child.name}", child) for child in ast.iter_child_nodes(node) if isinstance(child, Function)
        )


def asserting(tree: ast.Module, known: Collection[str] = ASSERTING) -> set[str]:
    """Return the functions `known` to assert, and those of a file that assert or call such a function."""
    found = set(known)
    while more := {
        name for name, body in functions(tree) if name not in found and any(asserts(x, found) for x in ast.walk(body))
    }:
        found |= more
    return found


def is_certain(node: ast.expr, known: Collection[str]) -> bool:
    """Return whether a loop over an expression runs at least once: a literal, a constant, a fixture that asserts."""
    match node:
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return bool(items)
        case ast.Dict(keys=keys):
            return bool(keys)
        case ast.Constant(value=value):
            return bool(value)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper():
            return True
        case ast.Name(id=name):
            return name in known
        case ast.Starred(value=value) | ast.Subscript(value=value):
            return is_certain(value, known)
        case ast.Call(func=ast.Name(id="range")):
            return True
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=[]):
            return name in AS_LONG and is_certain(value, known)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            values = arguments[1:] if name == "map" else arguments
            return name in AS_LONG and all(is_certain(value, known) for value in values)
    return False


def reached(node: ast.AST, known: Collection[str]) -> bool:
    """Return whether an assertion runs with any data: not in a loop that may be empty, nor a lone ``if``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.Lambda):
            continue
        if isinstance(child, ast.For) and not is_certain(child.iter, known):
            continue
        if isinstance(child, ast.If) and not child.orelse:
            continue
        if asserts(child, known) or reached(child, known):
            return True
    return False


def cannot_fail(node: ast.expr) -> bool:
    """Return whether an asserted expression is always true."""
    match node:
        case ast.Constant(value=value):
            return bool(value)
        case ast.GeneratorExp() | ast.Lambda() | ast.JoinedStr():
            return True
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return any(not isinstance(item, ast.Starred) for item in items)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is() | ast.LtE() | ast.GtE()], comparators=[right]):
            return ast.unparse(left) == ast.unparse(right) or (is_constant(left) and is_constant(right))
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(cannot_fail, values)) or says_less(values)
    return False


def is_constant(node: ast.expr) -> bool:
    return not any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node))


def says_less(values: list[ast.expr]) -> bool:
    """Return whether an alternative implies another one, as in ``"a b" in text or "b" in text``."""
    found = [value for value in values if isinstance(value, ast.Compare) and isinstance(value.ops[0], ast.In)]
    for one in found:
        for other in found:
            same_text = ast.unparse(one.comparators[0]) == ast.unparse(other.comparators[0])
            if one is not other and same_text and ast.unparse(one.left).strip("f'\"") in ast.unparse(other.left):
                return True
    return False


def is_generated(test: Function) -> bool:
    """Return whether hypothesis generates the data of a test, which may include empty collections."""
    return any("given" in ast.unparse(decorator) for decorator in test.decorator_list)


def faults(tree: ast.Module, known: Collection[str]) -> Iterator[str]:
    tests = [node for node in ast.walk(tree) if isinstance(node, Function) and node.name.startswith("test_")]
    for test in tests:
        if not any(asserts(node, known) for node in ast.walk(test)):
            yield f"{test.lineno}: {test.name} asserts nothing"
        elif not is_generated(test) and not reached(test, known):
            yield f"{test.lineno}: {test.name} asserts nothing if what it loops over is empty"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and cannot_fail(node.test):
            yield f"{node.lineno}: an assertion that cannot fail"


def test_every_test_can_fail(root: Path) -> None:
    trees = {path: ast.parse(path.read_text()) for pattern in LISTED for path in sorted(root.glob(pattern))}
    assert len(trees) > 100
    shared = [ast.Module(public(tree), []) for path, tree in trees.items() if not path.name.startswith("test_")]
    known = {name for tree in shared for name in asserting(tree)}
    found = {path.relative_to(root): list(faults(tree, asserting(tree, known))) for path, tree in trees.items()}
    assert {str(path): texts for path, texts in found.items() if texts} == {}


def public(tree: ast.Module) -> list[ast.stmt]:
    """Return the functions, fixtures and classes at the top level of a file."""
    return [node for node in tree.body if isinstance(node, Function | ast.ClassDef)]


HELPERS = (
    "def helper(x): inner(x)\ndef inner(x): assert x\ndef items(): inner(0)\nclass A:\n    def test(self): inner(0)\n"
)


@pytest.mark.parametrize(
    "body",
    [
        "prepare()",
        "values.helper()",
        "assert True",
        "assert (value, 'a message')",
        "assert [0]",
        "assert (x for x in values)",
        "assert value == value",
        "assert 1 == 1",
        "assert value or True",
        "assert 'a.b = 1' in text or '.b' in text",
        "for x in values: assert x",
        "for x in sorted(values): assert x",
        "if value:\n        assert value",
        "def inner():\n        assert value",
    ],
)
def test_a_test_that_cannot_fail_is_found(body: str) -> None:
    tree = ast.parse(f"{HELPERS}def test_it(value, values, text):\n    {body}\n")
    assert len(list(faults(tree, asserting(tree)))) == 1


@pytest.mark.parametrize(
    "body",
    [
        "assert value",
        "with pytest.raises(ValueError): prepare()",
        "for x in (1, 2): assert x == value",
        "for x in KNOWN.items(): assert x in values",
        "for x in items: assert x",
        "assert values\n    for x in values: assert x",
        "assert value == 1 or text",
        "assert 'a' in text or 'b' in text",
        "helper(value)",
        "value.test()",
        "assert [*values]",
    ],
)
def test_a_test_that_can_fail_is_not(body: str) -> None:
    tree = ast.parse(f"{HELPERS}def test_it(value, values, text):\n    {body}\n")
    assert list(faults(tree, asserting(tree))) == []
