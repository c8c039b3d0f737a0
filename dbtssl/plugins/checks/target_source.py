"""What the source of a target tells without being imported: whether it is there, and names that nothing calls."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import get_protocol_members

from dbtssl import interfaces
from dbtssl.config import did_you_mean
from dbtssl.interfaces.abilities import ABILITIES
from dbtssl.plugins import files
from dbtssl.plugins.component import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec

    from dbtssl.plugins.component import Component

NEAR = 0.8  # of difflib's ratio; "colapsed" is at 0.94 of "collapsed"
DYNAMIC = {"__getattr__", "globals", "exec", "setattr"}  # names may come from anywhere


def problem(component: Component) -> str:
    """Why the target cannot be there, or nothing; a module whose names are made when it runs is taken on trust."""
    module, _, attribute = component.target.partition(":")
    spec = find_module(module)
    if spec is None:
        return f"there is no module {module!r} (target {component.target})"
    tree = tree_of(spec)
    names = None if tree is None else defined(tree)
    if names is None or attribute in names:
        return ""
    near = did_you_mean(attribute, names)
    return f"module {module!r} has no {attribute!r}.{near} (target {component.target})"


def notes(component: Component) -> list[str]:
    """Names in the target's class that are nearly those of an ability of its kind."""
    module, _, attribute = component.target.partition(":")
    spec = find_module(module)
    tree = None if spec is None else tree_of(spec)
    return [] if tree is None else near_misses(component.kind, tree, attribute)


def near_misses(kind: str, tree: ast.Module, name: str) -> list[str]:
    """A sentence for each public name of class ``name`` that is nearly one that the core calls; nobody uses it."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes or not (protocol := KINDS.get(kind)) or kind == "method":
        return []
    own = {member for cls in _lineage(classes, name) for member in _members(cls)}
    optional = {m for ability in ABILITIES[kind] for m in get_protocol_members(ability)}
    known = optional | get_protocol_members(getattr(interfaces, protocol)) | {"Config"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = []
    for word in sorted(own - known - used):
        near = _nearest(word, known - own)
        if near and not word.startswith("_"):
            found.append(f"class {name} has {word!r}, which nothing calls. Did you mean {near!r}?")
    return found


def mentions(module: str, name: str) -> bool:
    """Whether the source of ``module`` has ``name`` between quotes, as a call of ``register`` would."""
    spec = find_module(module)
    text = None if spec is None else _text(spec)
    return bool(text and re.search(rf"""(["']){re.escape(name)}\1""", text))


def find_module(name: str) -> ModuleSpec | None:
    """The spec of a module; unlike `importlib.util.find_spec` it does not import the packages above it."""
    try:
        if name.startswith(f"{files.__name__}."):
            return importlib.util.find_spec(name)
        spec, path = None, None
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            whole = ".".join(parts[:end])
            found = (finder.find_spec(whole, path) for finder in sys.meta_path)
            spec = next((s for s in found if s is not None), None)
            if spec is None:
                return None
            path = spec.submodule_search_locations
            if path is None and end < len(parts):
                return None
        return spec
    except (ImportError, ValueError, AttributeError):
        return None


def defined(tree: ast.Module) -> set[str] | None:
    """Names that a module has once it is imported; None where that cannot be told from its text."""
    names: set[str] = set()
    for node in _outside(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            names |= set(node.names)
        elif isinstance(node, ast.Name) and node.id in DYNAMIC:
            return None
    return None if names & {"*", "__getattr__"} else names


def _outside(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not those in functions and classes, nor what is for types alone."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _outside(node.orelse)
            continue
        yield from _outside(ast.iter_child_nodes(node))


def _lineage(classes: dict[str, ast.ClassDef], name: str) -> list[ast.ClassDef]:
    """The class and those of its bases that stand in the same file."""
    found: list[ast.ClassDef] = []
    names = [name]
    while names:
        cls = classes.get(names.pop())
        if cls is not None and cls not in found:
            found.append(cls)
            names += [base.id for base in cls.bases if isinstance(base, ast.Name)]
    return found


def _members(cls: ast.ClassDef) -> Iterator[str]:
    for node in cls.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _nearest(word: str, known: Iterable[str]) -> str:
    plain = {name.replace("_", "").casefold(): name for name in known}
    near = difflib.get_close_matches(word.replace("_", "").casefold(), plain, n=1, cutoff=NEAR)
    return plain[near[0]] if near else ""


def _text(spec: ModuleSpec) -> str | None:
    if not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        return importlib.util.decode_source(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def tree_of(spec: ModuleSpec) -> ast.Module | None:
    """The syntax tree; None for what is no Python source, or no sound one: the import will say so."""
    text = _text(spec)
    try:
        return None if text is None else ast.parse(text)
    except (SyntaxError, ValueError):
        return None
