"""The house rules that a reader of the code can rely on."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from dbtssl.config import config_class
from dbtssl.plugins import registry

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "dbtssl").rglob("*.py"))
PLUGINS = sorted(ROOT.glob("plugins/*/dbtssl_*/**/*.py"))
SOURCES = CORE + PLUGINS
LONGEST = 400  # lines of a module

# A part may import its own layer and what stands below it.
LAYERS = (
    {"api", "testing", "__main__"},
    {"cli"},
    {"benchmark", "report"},
    {"evaluation", "inference", "training", "audit", "methods", "builtin"},
    {"patches"},
    {"views", "nn", "data", "phantom", "engine"},
    {"plugins"},
    {"interfaces"},
    {"workers"},
    {"progress"},
    {"config", "data.records", "evaluation.quantity", "folders"},
    {"io"},
    {"errors", "the package"},
)
# Who chooses components by name; all others are handed theirs.
MAY_LOOK_UP = ("api", "testing", "cli", "benchmark", "builtin", "plugins", "nn.backbones")


PARTS = {part for parts in LAYERS for part in parts}
DEPTH = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module):
    """The part of dbtssl that a dotted name belongs to."""
    inside = module.removeprefix("dbtssl").lstrip(".")
    leaves = ("data.records", "evaluation.quantity")  # of a package, and below all others of it
    first = next((leaf for leaf in leaves if inside.startswith(leaf)), inside.partition(".")[0])
    return first if first in PARTS else "the package"


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path, *, typing=True):
    """Modules and names that a file imports, as dotted names; without ``typing`` only what is imported when run."""
    skipped = set()
    if not typing:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                skipped |= {id(inner) for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree_of(path)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)


def own(path, *, typing=True):
    """What a file imports of dbtssl."""
    found = (name for name in imports(path, typing=typing) if name.split(".")[0] == "dbtssl")
    return sorted(set(found))


def test_every_file_of_the_core_belongs_to_a_part():
    folder = ROOT / "dbtssl"
    found = {p.stem if p.is_file() else p.name for p in folder.iterdir() if p.suffix in ("", ".py")}
    assert found - {"__init__", "__pycache__"} <= PARTS


def test_no_import_is_relative():
    assert [(name_of(p), m) for p in SOURCES for m in imports(p) if m.startswith(".")] == []


def test_imports_run_down_only():
    upward = [
        f"{name_of(path)} imports {module}"
        for path in CORE
        # the types of everything stand in interfaces
        for module in own(path, typing=part_of(name_of(path)) != "interfaces")
        if DEPTH[part_of(module)] < DEPTH[part_of(name_of(path))]
    ]
    assert upward == []


def test_no_two_parts_need_each_other():
    needs = {part: set() for part in PARTS}
    for path in CORE:
        part = part_of(name_of(path))
        needs[part] |= {part_of(module) for module in own(path, typing=False)} - {part}
    list(TopologicalSorter(needs).static_order())  # a cycle raises and is named


def test_components_are_handed_down():
    choosing = [
        f"{name_of(path)} imports {module}"
        for path in CORE
        for module in own(path)
        if part_of(module) == "plugins"
        and not name_of(path).removeprefix("dbtssl.").startswith(MAY_LOOK_UP)
    ]
    assert choosing == []


def test_the_core_knows_no_plugin():
    assert [(name_of(p), m) for p in CORE for m in imports(p) if m.startswith("dbtssl_")] == []


def test_the_page_for_authors_is_theirs():
    core = [path for path in CORE if part_of(name_of(path)) not in ("api", "testing")]
    assert [(name_of(p), m) for p in core for m in own(p) if part_of(m) == "api"] == []


def test_a_plugin_imports_the_public_pages_and_no_other_plugin():
    wrong = []
    for path in PLUGINS:
        folder = path.relative_to(ROOT / "plugins").parts[0]
        for module in imports(path):
            top = module.split(".")[0]
            if (top == "dbtssl" and part_of(module) not in ("api", "testing")) or (
                top.startswith("dbtssl_") and top != f"dbtssl_{folder}"
            ):
                wrong.append(f"{name_of(path)} imports {module}")
    assert wrong == []


def test_a_plugin_needs_no_other_plugin():
    """What a method names of another is found by its name when the row is resolved."""
    needed = []
    for file in ROOT.glob("plugins/*/pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        needed += [d for d in project["dependencies"] if d.startswith("dbtssl-")]
    assert needed == []


def test_a_module_is_one_idea():
    lines = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert {name: n for name, n in lines.items() if n > LONGEST} == {}
    vague = {"utils", "util", "helpers", "misc", "common"}
    assert [name_of(p) for p in SOURCES if p.stem in vague] == []


FORBIDDEN_CALLS = {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "marshal.loads"}


def unsafe(tree):
    """Calls that run what a file or a string says."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in FORBIDDEN_CALLS or given.get("allow_pickle") == "True":
            yield f"{called}, line {node.lineno}"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"torch.load without weights_only=True, line {node.lineno}"


def reads_tables(tree):
    """Calls that read a CSV table otherwise than the one strict reader does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if (
                called.split(".")[-1] in ("DictReader", "read_csv", "genfromtxt", "loadtxt")
                or called == "csv.reader"
            ):
                yield f"{called}, line {node.lineno}"


def test_tables_are_read_by_the_one_strict_reader():
    """`dbtssl.data.tables.csv_rows`: with any other a decimal comma or a lost quotation mark is another number."""
    assert [(name_of(p), what) for p in SOURCES for what in reads_tables(tree_of(p))] == []
    seen = "csv.reader(f); csv.DictReader(f); pd.read_csv(f); csv.writer(f)"
    assert len(list(reads_tables(ast.parse(seen)))) == 3


def writes(tree):
    """Calls that give a file its name or its content otherwise than `dbtssl.io` does."""
    moves = (
        "os.replace",
        "os.rename",
        "os.renames",
        "os.link",
        "shutil.move",
        "shutil.copyfile",
        "shutil.copy",
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, last = ast.unparse(node.func), ast.unparse(node.func).split(".")[-1]
        modes = [ast.unparse(a) for a in (*node.args, *(k.value for k in node.keywords))]
        if (
            called in moves
            or called.startswith("tempfile.")
            or (
                isinstance(node.func, ast.Attribute)
                and last in ("rename", "write_text", "write_bytes")
            )
            # of a path: that of a text takes two arguments, that of a date or a tuple takes names
            or (isinstance(node.func, ast.Attribute) and last == "replace" and len(node.args) == 1)
            or (
                last in ("open", "fdopen") and any(re.fullmatch(r"'[wxa][bt+]*'", m) for m in modes)
            )
        ):
            yield f"{called}, line {node.lineno}"


def test_files_are_written_by_the_one_durable_writer():
    """`dbtssl.io`: present means complete, also after a loss of power."""
    found = {name_of(p): list(writes(tree_of(p))) for p in SOURCES if p.name != "io.py"}
    probe = found.pop("dbtssl.data.prepared.arrays")
    assert [call.partition(",")[0] for call in probe] == [
        "temporary.open"
    ]  # asks a disk if it is full
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "code",
    [
        *(
            "os.replace(a, b)",
            "a.rename(b)",
            "a.replace(b)",
            "shutil.move(a, b)",
            "tempfile.mkstemp()",
        ),
        *(
            "a.write_text(t)",
            "a.write_bytes(b)",
            "a.open('wb')",
            "open(a, 'w')",
            "open(a, mode='a')",
        ),
    ],
)
def test_the_rule_of_the_writer_finds_what_it_is_for(code):
    assert len(list(writes(ast.parse(code)))) == 1
    harmless = (
        "t.replace('a', 'b'); replace(x, y=1); d.replace(day=1); a.open('rb'); write_text(a, t)"
    )
    assert list(writes(ast.parse(harmless))) == []


def test_nothing_runs_what_a_file_says():
    assert [(name_of(p), what) for p in SOURCES for what in unsafe(tree_of(p))] == []


@pytest.mark.parametrize(
    "code",
    [
        "eval(x)",
        "pickle.load(f)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
    ],
)
def test_the_rule_above_finds_what_it_is_for(code):
    assert len(list(unsafe(ast.parse(code)))) == 1
    assert list(unsafe(ast.parse("torch.load(f, weights_only=True); model.eval()"))) == []


TORCHLESS = (
    "dbtssl.api",
    "dbtssl.interfaces",
    "dbtssl.plugins",
    "dbtssl.builtin",
    "dbtssl.cli.main",
    "dbtssl.evaluation",
    "dbtssl.report",
)


def test_what_needs_no_torch_does_not_import_it():
    modules = [name_of(path) for path in CORE if name_of(path).startswith(TORCHLESS)]
    modules += [name_of(path) for path in PLUGINS if path.name == "__init__.py"]
    code = (
        "import importlib, json, sys\n"
        "guilty = []\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules:\n"
        "        guilty.append(name)\n"
        "        break\n"
        "print(json.dumps(guilty))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [], "this module was the first to bring torch"


def test_a_components_configuration_tells_what_each_key_means():
    silent = []
    for plugin in registry().plugins:
        for component in plugin.components:
            target = registry().load(component.kind, component.name)
            if component.kind in ("method", "backbone"):
                continue
            for key, field in config_class(target).model_fields.items():
                if not field.description:
                    silent.append(f"{component.kind} {component.name}: {key}")
    assert silent == []
