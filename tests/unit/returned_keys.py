# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Find the keys of the result that an Ansible module passes to ``exit_json``, from its source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType


class ReturnedKeys:
    """Keys of the mappings in the source of one module.

    A name stands for all values that the file assigns to it in any function: the modules are small. ``unknown`` has
    the expressions whose keys are not found.
    """

    def __init__(self, module: ModuleType, tree: ast.AST | None = None) -> None:
        self.module = module
        self.tree = tree or ast.parse(inspect.getsource(module))
        self.unknown: list[str] = []
        self.seen: set[str] = set()

    def of_exit_json(self) -> set[str]:
        """Return the keys of every call of ``exit_json``."""
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        ends = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "exit_json"]
        assert ends, f"{self.module.__name__} never calls exit_json"
        return {key for call in ends for word in call.keywords for key in self.of_keyword(word)}

    def of_keyword(self, word: ast.keyword) -> set[str]:
        return {word.arg} if word.arg else self.of(word.value)

    def of(self, node: ast.expr | None) -> set[str]:
        """Return the keys of the mapping that an expression yields."""
        match node:
            case ast.Dict():
                pairs = zip(node.keys, node.values, strict=True)
                return set().union(*(self.of_key(key) if key else self.of(value) for key, value in pairs))
            case ast.BinOp(op=ast.BitOr()):
                return self.of(node.left) | self.of(node.right)
            case ast.IfExp():
                return self.of(node.body) | self.of(node.orelse)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self.of_name(name)
            case ast.DictComp(key=ast.Name(id=key), generators=[loop]):
                return self.of_loop(key, loop)
            case ast.Call(func=ast.Name(id=name)):
                return self.of_function(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)) if hasattr(self.module, owner):
                other = ReturnedKeys(getattr(self.module, owner))
                found = other.of_function(name)
                self.unknown += other.unknown
                return found
        return self.give_up(node)

    def of_key(self, key: ast.expr) -> set[str]:
        return {key.value} if isinstance(key, ast.Constant) and isinstance(key.value, str) else self.give_up(key)

    def of_name(self, name: str) -> set[str]:
        if name in self.seen:
            return set()
        self.seen.add(name)
        found = [self.of(value) for value in self.values(name)]
        for node in ast.walk(self.tree):  # name["key"] = ...
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and named(node.value) == name:
                found.append(self.of_key(node.slice))
        return set().union(*found)

    def values(self, name: str) -> Iterator[ast.expr]:
        """Yield the values that are assigned to a name or an attribute."""
        for node in ast.walk(self.tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value:
                targets = [node.target]
            if any(named(target) == name for target in targets):
                assert isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
                assert node.value
                yield node.value

    def of_loop(self, key: str, loop: ast.comprehension) -> set[str]:
        """Return the keys of ``{key: ... for key in (...)}`` and ``{key: ... for key, value in mapping.items()}``."""
        match loop:
            case ast.comprehension(target=ast.Name(id=name), iter=ast.Name(id=words)) if name == key:
                items = [item for value in self.values(words) if isinstance(value, ast.Tuple) for item in value.elts]
                return set().union(*map(self.of_key, items))
            case ast.comprehension(
                target=ast.Tuple(elts=[ast.Name(id=name), _]),
                iter=ast.Call(func=ast.Attribute(value=mapping, attr="items")),
            ) if name == key:
                return self.of(mapping)
        return self.give_up(loop)

    def of_function(self, name: str) -> set[str]:
        """Return the keys of the mappings that a function of the file returns."""
        functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef) and node.name == name]
        ends = [node for function in functions for node in ast.walk(function) if isinstance(node, ast.Return)]
        if not ends:
            self.unknown.append(f"{name}()")
        nested = {node for function in functions for inner in ast.walk(function) if inner is not function
                  and isinstance(inner, ast.FunctionDef) for node in ast.walk(inner)}  # fmt: skip
        return set().union(*(self.of(node.value) for node in ends if node not in nested))

    def give_up(self, node: ast.AST | None) -> set[str]:
        self.unknown.append(ast.unparse(node) if node else "nothing")
        return set()


def named(node: ast.expr) -> str:
    """Return the name of a variable or an attribute, or an empty name for other expressions."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
