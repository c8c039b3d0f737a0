"""What Python source says, whatever its comments, docstrings, layout and line numbers are.

The text is the same for every supported version of Python, so that a hash of it may be kept in a file.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# code that reads its own text: the bytes count, since a comment may then change what it does
READS_ITSELF = frozenset(
    {"__doc__", "getdoc", "getcomments", "getsource", "getsourcelines", "linecache", "findsource"}
)
DYNAMIC = frozenset({"import_module", "__import__"})


@dataclass(frozen=True)
class Import:
    """One import: the absolute module, and what is taken from it; ``*`` for everything."""

    module: str
    names: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def parsed(source: bytes) -> ast.Module | None:
    """The tree of ``source``; None where it is not valid Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def canonical(node: ast.AST) -> str:
    """One text for all ways to write the same code."""
    return _text(node)


def reads_itself(tree: ast.AST) -> bool:
    """Whether the code may read its own docstrings or source."""
    return any(_word(node) in READS_ITSELF for node in ast.walk(tree))


def strings(tree: ast.AST) -> set[str]:
    """Every string constant that is no docstring."""
    silent = {id(node.value) for node in ast.walk(tree) if _is_docstring(node)}  # type: ignore[attr-defined]
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
    }


def variables(tree: ast.AST) -> set[str]:
    """Names of environment variables that are read by a constant name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        key: ast.AST | None = None
        if isinstance(node, ast.Subscript) and _word(node.value) == "environ":
            key = node.slice
        elif isinstance(node, ast.Compare) and any(_word(x) == "environ" for x in node.comparators):
            key = node.left
        elif isinstance(node, ast.Call) and node.args and _reads_environment(node.func):
            key = node.args[0]
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.add(key.value)
    return found


def imports(tree: ast.AST, package: str) -> tuple[list[Import], bool]:
    """What is imported anywhere in the code, also in functions and below conditions, with absolute names.

    The second value says whether something else may be imported, whose name is made when the code runs.
    """
    found: list[Import] = []
    unknown = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = absolute(f"{'.' * node.level}{node.module or ''}", package)
            found.append(Import(module, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and _word(node.func) in DYNAMIC:
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.append(Import(absolute(name.value, package)))
            else:
                unknown = True
    return found, unknown


def absolute(name: str, package: str) -> str:
    """``..x`` as seen from ``package``, with its full name."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    above = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*above, *filter(None, [name[level:]])])


def _text(value: Any) -> str:
    if isinstance(value, ast.Constant):  # `ascii`: what `repr` escapes depends on the version
        return f"{type(value.value).__name__}:{value.value!a}"
    if isinstance(value, ast.AST):
        fields = [
            f"{name}={_text(field)}"
            for name, field in ast.iter_fields(value)
            if field is not None and field != [] and name != "type_comment"
        ]
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, list):
        return f"[{','.join(_text(item) for item in value if not _is_docstring(item))}]"
    return ascii(value)


def _is_docstring(node: object) -> bool:
    """A string that stands alone does nothing, be it the first statement or the words below a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _word(node: ast.AST) -> str:
    """The last word of a dotted name, or a name that is given as text."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.alias):
        return node.name.rpartition(".")[2]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def _reads_environment(called: ast.AST) -> bool:
    if _word(called) == "getenv":
        return True
    return (
        isinstance(called, ast.Attribute)
        and called.attr in ("get", "pop", "setdefault")
        and _word(called.value) == "environ"
    )
