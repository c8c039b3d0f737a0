"""Through the command line: what a plugin reads is changed, and a result that depends on it is not found again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dbtssl
from dbtssl.benchmark.inputs.open_dataset import prepare_stage
from dbtssl.benchmark.results.run_record import code_digest
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.config import validate
from dbtssl.plugins import add_plugin_file, registry

pytestmark = pytest.mark.timeout(280)

SPEC = """
name = "stale"
methods = ["of-a-file", "of-a-package"]
[data]
source = "phantom"
[data.phantom]
patients = 20
seed = 3
rows = 96
anatomy = "plain"
prevalence = "balanced"
[backbone]
name = "cnn7"
args = { base_channels = 4 }
[pretrain]
epochs = 1
batch_size = 16
[finetune]
epochs = 1
[predict]
patches = 1
patch_size = 64
[monitor]
every = 0
[objective.moco-v2]
crop_size = 64
queue_size = 64
"""

SAMPLER = '''
from dbtssl.api import Config, Method, SliceRef, hookimpl
{imports}
DBTSSL_API = 1


class Nearby:
    """A slice a few steps away."""

    class Config(Config):
        """Nothing to set."""

    def positive(self, anchor, cohort, rng):
        return SliceRef(anchor.volume, (anchor.z + {step}) % cohort[anchor.volume].n_slices)


METHOD = Method(summary="MoCo v2 on slices a step away", objective="moco-v2", sampler="{name}")
'''
REGISTERS = """
from dbtssl.api import hookimpl

DBTSSL_API = 1


@hookimpl
def register_components(register):
    register("sampler", "{name}", {module} + ":Nearby", "a slice a few steps away")
    register("method", "{name}", {module} + ":METHOD", "MoCo v2 on slices a step away")
"""
FILES = {
    "one/of_a_file.py": SAMPLER.format(
        name="of-a-file",
        imports="from pathlib import Path\nfrom my_helper import STEP\n"
        "STEP = STEP + int(Path(__file__).with_name('step.txt').read_text())\n",
        step="STEP",
    )
    + REGISTERS.format(name="of-a-file", module="__name__"),
    "one/my_helper.py": '"""Beside the plugin."""\n\nSTEP = 1\n',
    "one/step.txt": "1\n",
    "one/unused.py": "U = 1\n",
    "site/p_near/__init__.py": REGISTERS.format(name="of-a-package", module='"p_near.sampler"')
    + '    register("aggregator", "unused", "p_near.unused:Unused", "an unused neighbour")\n',
    "site/p_near/sampler.py": SAMPLER.format(
        name="of-a-package",
        imports="from p_near.steps import step",
        step="step()",
    ),
    "site/p_near/steps.py": "import json\nfrom pathlib import Path\n\n\ndef step():\n"
    "    from p_elsewhere import ADD\n\n"
    "    file = Path(__file__).with_name('steps.json')\n"
    "    return ADD + json.loads(file.read_text())\n",
    "site/p_near/steps.json": "1\n",
    "site/p_near/unused.py": "from dbtssl.api import Config\n\n\nclass Unused:\n    class Config(Config):\n"
    "        pass\n    level, needs = 'any', 'scores'\n    def __call__(self, groups):\n        return None\n",
    "site/p_elsewhere.py": "ADD = 0\n",
    "site/p_near-0.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: p-near\nVersion: 0.3\n",
    "site/p_near-0.3.dist-info/entry_points.txt": "[dbtssl]\nnear = p_near\n",
    "spec.toml": SPEC,
}  # fmt: skip


class Work:
    """A folder with a plugin of one file, an installed one, and a finished run of both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def call(self, *words: str) -> tuple[str, str]:
        """The command in a process of its own; what it printed."""
        paths = [
            str(Path(dbtssl.__file__).parents[1]),
            str(self.folder / "site"),
            str(self.folder / "one"),
        ]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
        }
        done = subprocess.run(
            [sys.executable, "-m", "dbtssl", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def benchmark(self, *words: str) -> tuple[str, str]:
        plugin = ("--plugin", "one/of_a_file.py")
        return self.call(*plugin, "benchmark", "spec.toml", "--out", "runs", *words)

    def to_run(self) -> tuple[int, set[str]]:
        """How many stages would be run, and of which rows."""
        plan, _ = self.benchmark("--plan")
        (count,) = re.findall(r"(\d+) of 10 stages to run", plan)
        rows = set(re.findall(r"(of-a-\w+), seed 0 +run", plan))
        return int(count), rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = Work(tmp_path_factory.mktemp("stale"))
    _, error = work.benchmark()
    assert "10 stages run, 0 found" in error
    return work


@pytest.fixture
def work(finished):
    """The finished run; whatever a test has changed is as before afterwards."""
    yield finished
    for name, text in FILES.items():
        finished.write(name, text)


@pytest.mark.parametrize(
    ("file", "old", "new", "row"),
    [
        ("one/my_helper.py", "STEP = 1", "STEP = 2", "of-a-file"),
        ("one/step.txt", "1", "2", "of-a-file"),
        ("site/p_near/steps.json", "1", "2", "of-a-package"),
        ("site/p_elsewhere.py", "ADD = 0", "ADD = 1", "of-a-package"),
    ],
)
def test_what_a_row_reads_makes_that_row_again(work, file, old, new, row):
    assert old in FILES[file]
    work.write(file, FILES[file].replace(old, new))
    assert work.to_run() == (5, {row})  # its four stages, and the comparison


def test_comments_and_neighbours_that_are_not_read_run_nothing(work):
    for name, text in FILES.items():
        if name.endswith(".py"):
            work.write(name, f"# a comment\n{text}\n\n# and another\n")
    work.write("one/unused.py", "U = 2\n")
    work.write("one/unused.txt", "2\n")
    work.write("site/p_near/unused.py", FILES["site/p_near/unused.py"].replace("None", "groups"))
    _, error = work.benchmark()
    assert "0 stages run, 10 found" in error


def test_a_changed_helper_gives_another_table_and_compare_says_why(work):
    work.write("one/my_helper.py", "STEP = 2\n")
    _, error = work.benchmark("--set", "name=changed")
    assert "5 stages run, 5 found" in error
    before, after = (
        json.loads((work.folder / "runs" / name / "benchmark.json").read_text())["rows"]
        for name in ("stale", "changed")
    )
    assert [r["score"] == s["score"] for r, s in zip(before, after, strict=True)] == [False, True]
    printed, _ = work.call("compare", "runs/stale", "runs/changed", "--json")
    found = json.loads(printed)
    codes = [
        {
            f"{c['kind']} {c['name']}": f"of_a_file.py, code {c['code'][:12]}"
            for c in rows[0]["components"]
        }
        for rows in (before, after)
    ]
    differ = ("method of-a-file", "sampler of-a-file")
    assert {c["name"]: c["values"] for c in found["components"]} == {
        name: [code[name] for code in codes] for name in differ
    }
    assert all(codes[0][name] != codes[1][name] for name in differ)
    shown, _ = work.call("compare", "runs/stale", "runs/changed")
    assert "Code of the components: what differs" in shown


def test_each_row_says_who_brought_its_components(work):
    record = json.loads((work.folder / "runs" / "stale" / "benchmark.json").read_text())
    row = next(r for r in record["rows"] if r["method"] == "of-a-package")
    found = {(c["kind"], c["name"]): c for c in row["components"]}
    assert set(found) == {
        ("source", "phantom"), ("method", "of-a-package"), ("backbone", "cnn7"), ("sampler", "of-a-package"),
        ("objective", "moco-v2"), ("finetuner", "local-multi-patch"), ("aggregator", "mean"),
        ("aggregator", "max"),
    }  # fmt: skip
    sampler = found["sampler", "of-a-package"]
    assert [sampler[key] for key in ("plugin", "distribution", "version")] == [
        "near",
        "p-near",
        "0.3",
    ]
    assert re.fullmatch("[0-9a-f]{64}", sampler["code"])
    assert {"torch", "device", "cpu capability", "threads"} <= set(row["made_with"])
    page = (work.folder / "runs" / "stale" / "report.html").read_text()
    assert sampler["code"] in page
    assert "p-near 0.3" in page
    assert str(work.folder) not in json.dumps(record["rows"])


SOURCE = """
from dbtssl.api import Config, hookimpl

DBTSSL_API = 1


class Shelf:
    class Config(Config):
        pass

    def volumes(self, root):
        return []


@hookimpl
def register_components(register):
    register("source", "shelf", f"{__name__}:Shelf", "volumes on a shelf")
"""


def test_the_code_of_a_plugins_source_is_in_the_key_of_the_prepared_data(tmp_path):
    def key(text, source="shelf"):
        file = tmp_path / "shelf.py"
        file.write_text(text)
        registry.cache_clear()
        add_plugin_file(file)
        spec = validate(
            Spec,
            {
                "name": "x",
                "methods": ["random-init"],
                "data": {"source": source, "root": str(tmp_path)},
            },
        )
        return prepare_stage(spec, registry().build("source", source, {}), tmp_path, []).key

    first = key(SOURCE)
    assert key(f"# a comment\n{SOURCE}") == first
    assert key(SOURCE.replace("[]", "list()")) != first
    own = key(SOURCE, "bcs-dbt")
    assert key(SOURCE.replace("[]", "list()"), "bcs-dbt") == own


def test_a_plugin_that_is_changed_during_a_run_is_another_one_afterwards(tmp_path):
    file = tmp_path / "shelf.py"
    file.write_text(SOURCE)
    add_plugin_file(file)
    before = code_digest(registry())
    file.write_text(SOURCE.replace("[]", "list()"))
    assert code_digest(registry()) == before
    registry.cache_clear()
    assert code_digest(registry()) != before
