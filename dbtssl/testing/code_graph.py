"""Which definitions of a package one definition can reach, by the names that its source holds; nothing is imported.

A name is followed into the module that it is imported from, at the top, in a function, or for typing alone: an object
that is handed in belongs to the class that its annotation names.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dbtssl.plugins.code.syntax import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Name = tuple[str, str]  # of a module, and of a definition in it; "" for what runs on import


@dataclass
class Module:
    """The statements that define each name, what is imported under which name, and what runs on import."""

    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, Name] = field(default_factory=dict)
    running: list[ast.stmt] = field(default_factory=list)

    def read(self, statements: Iterable[ast.stmt]) -> None:
        """Sort the statements of a module's top level."""
        for node in statements:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imported |= dict(_imported(node))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.defined.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and (names := _targets(node)):
                for name in names:
                    self.defined.setdefault(name, []).append(node)
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                self.read(node.body)
            elif not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
                self.running.append(node)
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        self.imported |= dict(_imported(inner))

    def value(self, name: str) -> Any:
        """The literal that ``name`` is set to, also as one of several."""
        for node in self.defined[name]:
            if isinstance(node, ast.Assign):
                (target, *_), value = node.targets, node.value
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    at = [x.id for x in target.elts if isinstance(x, ast.Name)].index(name)
                    value = value.elts[at]
                return ast.literal_eval(value)
        raise KeyError(name)


class Graph:
    """The modules of a package, read once. ``package`` is its folder; nothing below ``stops`` is entered."""

    def __init__(self, package: Path, stops: tuple[str, ...] = ()) -> None:
        self.stops = stops
        self.modules: dict[str, Module] = {}
        for path in sorted(package.rglob("*.py")):
            parts = (package.name, *path.relative_to(package).with_suffix("").parts)
            module = self.modules[".".join(parts).removesuffix(".__init__")] = Module()
            module.read(ast.parse(path.read_bytes()).body)

    def resolve(self, module: str, name: str) -> Name | None:
        """Where the name that ``module`` uses is defined; None for one that is not known at its top level."""
        found = self.modules[module]
        if name in found.defined:
            return module, name
        if name not in found.imported:
            return None
        return self.home(found.imported[name])

    def home(self, name: Name) -> Name:
        """Follow a name through modules that only pass it on; a module is named whole, with ``*``."""
        module, attribute = name
        if f"{module}.{attribute}" in self.modules:
            return f"{module}.{attribute}", "*"
        if module in self.modules and attribute in self.modules[module].imported:
            return self.home(self.modules[module].imported[attribute])
        return module, attribute

    def reach(self, roots: Iterable[Name]) -> dict[Name, str]:
        """Every definition that ``roots`` can reach, with a hash of its code."""
        found: dict[Name, str] = {}
        todo = [self.home(root) for root in roots]
        while todo:
            module, name = one = todo.pop()
            if one in found or module.startswith(self.stops):
                continue
            if module not in self.modules:  # another library's
                found[one] = f"{module}:{name}"
                continue
            known = self.modules[module]
            if name == "*":
                todo += [(module, n) for n in (*known.defined, "")]
                continue
            nodes = known.running if name == "" else known.defined.get(name, [])
            found[one] = _digest(nodes)
            if name:
                todo.append((module, ""))
            for node in nodes:
                todo += [x for word in _words(node) if (x := self.resolve(module, word))]
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        todo += [self.home(target) for _, target in _imported(inner)]
        return {name: code for name, code in found.items() if code}


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    inner = [x for target in targets for x in ast.walk(target)]
    if any(isinstance(x, ast.Attribute | ast.Subscript) for x in inner):
        return []  # it changes something that is there
    return [x.id for x in inner if isinstance(x, ast.Name)]


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Name]]:
    """Local names, and what they stand for."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, (node.module or "", alias.name)
        else:
            full = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or full, (full, "*")


def _words(node: ast.AST) -> set[str]:
    return {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}


class _Silent(ast.NodeTransformer):
    """Leaves out imports, which are followed, and the words of an error."""

    def visit_Import(self, _: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, _: ast.ImportFrom) -> None:
        return None

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return ast.Raise(exc=node.exc.func if isinstance(node.exc, ast.Call) else node.exc)


def _digest(nodes: list[ast.stmt]) -> str:
    texts = [canonical(_Silent().visit(copy.deepcopy(node))) for node in nodes]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest() if texts else ""
