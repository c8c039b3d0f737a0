"""Did the code behind a stage of the benchmark change, and its version not? Then old results would be shown as new.

``python -m dbtssl.testing.stage_code`` says which, and ``--confirm`` writes the whole file of recorded hashes again, in
a checkout of dbtssl. Comments, docstrings, the words of errors and the modules that things lie in do not count.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import dbtssl
from dbtssl.io import write_text
from dbtssl.testing.code_graph import Graph, Name

FILE = Path("tests", "benchmark", "stage_code.toml")
COMMAND = "python -m dbtssl.testing.stage_code --confirm"
# what no number depends on, or what is in a stage's key whole
STOPS = (
    *("dbtssl.errors", "dbtssl.progress", "dbtssl.plugins", "dbtssl.cli"),
    *("dbtssl.benchmark.resolve", "dbtssl.benchmark.spec.specification", "dbtssl.engine.store"),
)
API = "dbtssl.api.table"  # plugins reach the core through the names there
# stage -> kinds of components that it runs
KINDS: dict[str, tuple[str, ...]] = {
    "phantom": (),
    "prepare": ("source",),
    "pretrain": ("sampler", "objective", "backbone"),
    "features": ("backbone",),
    "tasks": (),
    "finetune": ("finetuner", "backbone"),
    "predict": ("backbone",),
    "score": ("aggregator",),
    "compare": ("aggregator",),
}
OF_PLUGINS = ("objective", "finetuner")  # kinds whose plugins are given tools by the API
WITHOUT_TOOLS = ("sources", "evaluation")  # pages of the API that have none for these kinds
PHANTOM = (
    ("dbtssl.phantom.output.write_cohort", "write_cohort"),
    ("dbtssl.phantom.model.phantom_config", "FORMAT"),
)
DIGITS = 12


@dataclass(frozen=True)
class StageCode:
    """A stage's version, a hash of all code that it can reach, and one for each module, to name what changed."""

    version: int
    code: str
    modules: dict[str, str]
    constant: str = ""


def stage_code(package: Path | None = None) -> dict[str, StageCode]:
    """The code of every stage of dbtssl, or of the copy of it in the folder ``package``."""
    graph = Graph(package or Path(dbtssl.__file__).parent, STOPS)
    found: dict[str, tuple[Name, Name]] = {"phantom": PHANTOM}
    for module in graph.modules:
        found |= _stages(graph, module)
    components = _components(graph)
    out = {}
    for stage, (function, constant) in sorted(found.items()):
        kinds = KINDS.get(stage, ())
        roots = [function, *(target for kind, target in components if kind in kinds)]
        if set(kinds) & set(OF_PLUGINS):
            pages = graph.modules[API].value("PAGES")
            roots += [
                (module, name)
                for page, names in pages.items()
                if page not in WITHOUT_TOOLS
                for name, module in names.items()
            ]
        reached = graph.reach(roots)
        reached.pop(constant, None)  # the version itself
        modules: dict[str, list[str]] = {}
        for (module, name), code in sorted(reached.items()):
            if module in graph.modules:
                modules.setdefault(module, []).append(f"{name} {code}")
        out[stage] = StageCode(
            version=graph.modules[constant[0]].value(constant[1]),
            code=_hash(sorted(f"{name} {code}" for (_, name), code in reached.items())),
            modules={module: _hash(lines) for module, lines in modules.items()},
            constant=constant[1],
        )
    return out


def differences(recorded: dict[str, StageCode], found: dict[str, StageCode]) -> list[str]:
    """What is to be done, a text for each stage that is not as recorded."""
    out = [
        f"{stage}: this stage is gone; run `{COMMAND}`" for stage in recorded if stage not in found
    ]
    for stage, now in found.items():
        before = recorded.get(stage)
        if before is None:
            out.append(f"{stage}: this stage is new; run `{COMMAND}`")
        elif before.version != now.version:
            out.append(
                f"{stage}: {now.constant} is {now.version}, recorded is {before.version}; run `{COMMAND}`"
            )
        elif before.code != now.code:
            changed = sorted(
                module
                for module in before.modules.keys() | now.modules.keys()
                if before.modules.get(module) != now.modules.get(module)
            )
            out.append(
                f"{stage}: its code changed and {now.constant} is still {now.version}: {', '.join(changed)}. If a "
                f"result can be another one, raise {now.constant}; then, or if none can, run `{COMMAND}`"
            )
    return out


def read(file: Path) -> dict[str, StageCode]:
    """The recorded stages; none where there is no file yet."""
    if not file.is_file():
        return {}
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return {stage: StageCode(**entry) for stage, entry in data.items()}


def write(file: Path, found: dict[str, StageCode]) -> None:
    """Record the stages; after a merge the whole file is simply written again."""
    lines = [f"# Written by `{COMMAND}`, never by hand. After a conflict: run it again."]
    for stage, code in found.items():
        lines += ["", f"[{stage}]", f"version = {code.version}", f'code = "{code.code}"']
        lines += [f"[{stage}.modules]"]
        lines += [f'"{module}" = "{digest}"' for module, digest in code.modules.items()]
    write_text(file, "\n".join(lines) + "\n")


def _stages(graph: Graph, module: str) -> dict[str, tuple[Name, Name]]:
    """The functions of a module that make a stage: its name, the function, and the constant of its version."""
    out: dict[str, tuple[Name, Name]] = {}
    for function, nodes in graph.modules[module].defined.items():
        for call in (x for node in nodes for x in ast.walk(node) if isinstance(x, ast.Call)):
            given = {k.arg: k.value for k in call.keywords}
            version, name = given.get("version"), given.get("name")
            if (
                ast.unparse(call.func) != "Stage"
                or name is None
                or not isinstance(version, ast.Name)
            ):
                continue
            word = (
                graph.modules[module].value(name.id)
                if isinstance(name, ast.Name)
                else ast.literal_eval(name)
            )
            constant = graph.resolve(module, version.id)
            assert constant is not None, f"{module}: {version.id} is a constant of a module"
            out[word] = ((module, function), constant)
    return out


def _components(graph: Graph) -> list[tuple[str, Name]]:
    """Kind and target of what dbtssl itself registers."""
    out = []
    for node in graph.modules["dbtssl.builtin"].defined["register_components"]:
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "register":
                kind, _, target, *_ = (ast.literal_eval(x) for x in call.args)
                module, _, attribute = target.partition(":")
                out.append((kind, (module, attribute)))
    return out


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGITS]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m dbtssl.testing.stage_code", description=__doc__
    )
    parser.add_argument("--confirm", action="store_true", help="write the file of hashes again")
    parser.add_argument("--file", type=Path, default=FILE, help="default: %(default)s")
    chosen = parser.parse_args()
    if not chosen.file.parent.is_dir():
        parser.error(f"no folder {chosen.file.parent}: run this in a checkout of dbtssl")
    found = stage_code()
    told = differences(read(chosen.file), found)
    print("\n".join(told) or "every stage is as recorded")
    if chosen.confirm:
        write(chosen.file, found)
        print(f"written: {chosen.file}")
        return 0
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
