"""Broken plugins among good rows, through the command line: the others go on, and each reason says whose it is."""

from __future__ import annotations

import json

import pytest

from dbtssl.cli.main import main

from .broken_rows import BACKBONES, MORE, TEN, Broken, objective

GOOD = 10
SPEC = """
name = "mixed"
methods = {methods}

[data.phantom]
patients = 10
seed = 5
rows = 80
anatomy = "plain"
prevalence = "balanced"

[backbone]
args = {{ base_channels = 2 }}

[pretrain]
epochs = 1
batch_size = 8

[finetune]
epochs = 1
steps_per_epoch = 2
batch_size = 8

[predict]
patches = 1
patch_size = 64

[monitor]
every = 0

[objective.moco-v2]
crop_size = 64
queue_size = 32
"""


def good_rows(count):
    """Tables of rows of shipped methods, no two alike."""
    shipped = ("moco-v2", "inter-slice", "sift-dbt", "random-init")
    names = [f"good-{i}" for i in range(count)]
    text = "".join(
        f'[method.{name}]\nmethod = "{shipped[min(i, 3)]}"\nfinetune = {{ lr = {0.01 + 0.001 * i:.3f} }}\n'
        for i, name in enumerate(names)
    )
    return names, text


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One store for all runs: what is the same is made once."""
    folder = tmp_path_factory.mktemp("broken") / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path, shared, capsys):
    """Write plugins and a specification of good rows and theirs, run it; exit code, record, table and what was said."""

    def go(broken: dict[str, Broken], good=2, *options, files=(), out="runs"):
        words, own = [], ""
        sources = {name: plugin.source(name) for name, plugin in broken.items()} | dict(files)
        for name, source in sources.items():
            path = tmp_path / f"plugin_{name.replace('-', '_')}.py"
            path.write_text(source)
            words += ["--plugin", str(path)]
        for name, plugin in broken.items():
            if plugin.kind == "backbone":
                own += (
                    f'[method.{name}]\nmethod = "random-init"\nbackbone = {{ name = "{name}" }}\n'
                )
        if not (tmp_path / out).exists():
            (tmp_path / out).mkdir()
            (tmp_path / out / "store").symlink_to(shared)
        names, text = good_rows(good)
        mixed = [x for pair in zip(names, broken, strict=False) for x in pair]
        mixed += [x for x in (*names, *broken) if x not in mixed]
        spec = tmp_path / "mixed.toml"
        spec.write_text(SPEC.format(methods=json.dumps(mixed)) + text + own)
        with pytest.raises(SystemExit) as left:
            main(
                [*words, "benchmark", str(spec), "--out", str(tmp_path / out), *options],
                prog_name="dbtssl",
            )
        printed = capsys.readouterr()
        folder = tmp_path / out / "mixed"
        path = folder / "benchmark.json"
        record = json.loads(path.read_text()) if path.is_file() else None
        return int(left.value.code or 0), record, folder, printed

    return go


def check_reasons(broken, record, folder, printed):
    """Each broken row has no score; its reason names file, kind and name, and has cause and next step everywhere."""
    rows = {row["method"]: row for row in record["rows"]}
    spoken = " ".join(printed.err.split())
    note = json.loads((folder / "table.json").read_text())["notes"]
    page = " ".join((folder / "report.html").read_text().split())
    for name, plugin in broken.items():
        row = rows[name]
        assert not row["score"], name
        assert plugin.cause in row["failure"], name
        assert plugin.step in row["hint"], name
        assert row["hint"], name
        assert f"{plugin.kind} {name!r} of " in row["failure"], name
        assert f"plugin_{name.replace('-', '_')}.py" in row["failure"], name
        assert row["failure"] in spoken, name
        assert f"hint: {row['hint']}" in spoken or f"Hint: {row['hint'].rstrip('.')}" in spoken, (
            name
        )
        told = [
            n for n in note if n.startswith(f"{name}, seed 0, failed: {row['failure'].rstrip('.')}")
        ]
        assert len(told) == 1, name
        assert row["hint"].rstrip(".") in told[0], name
        assert f"<li>{name}, seed 0, failed: " in page, name


def scored(folder):
    """Methods with an AUC, by level."""
    rows = json.loads((folder / "table.json").read_text())["rows"]
    return {
        level: [
            r["method"]
            for r in rows
            if r["kind"] == "method"
            and r["level"] == level
            and not r["subgroup"]
            and r["cells"]["auc"]["value"]["value"] is not None
        ]
        for level in ("slice", "volume", "patient")
    }


def test_ten_broken_plugins_among_ten_good_rows(run):
    assert len(TEN) == 10
    code, record, folder, printed = run(TEN, GOOD)
    assert code == 2
    assert f"10 of {GOOD + 10} rows failed" in printed.err
    names = [f"good-{i}" for i in range(GOOD)]
    assert scored(folder) == {"slice": names, "volume": names, "patient": names}
    check_reasons(TEN, record, folder, printed)
    assert {r["method"] for r in record["rows"] if r["failure"]} == set(TEN)
    assert not any(r["warnings"] for r in record["rows"])
    assert "temperature = 0.25" in next(
        r["failure"] for r in record["rows"] if r["method"] == "vector-loss"
    )
    for part in ("table.txt", "table.md", "table.tex", "table.json"):
        text = (folder / part).read_text()
        assert all(name in text for name in TEN), part
    assert not [r for r in record["rows"] if "Traceback" in r["failure"]]
    assert "Traceback" not in printed.err


def test_other_broken_promises(run):
    code, record, folder, printed = run(MORE | BACKBONES)
    assert code == 2
    check_reasons(MORE | BACKBONES, record, folder, printed)
    assert scored(folder)["volume"] == ["good-0", "good-1"]


STILL = {
    "detached": objective(
        "def forward(self, batch):\n"
        "    a, b = (self.head(self.net(view).detach()) for view in batch.views)\n"
        "    return Step((a - b).square().mean())",
        "",
        "",
    ),
    "a-copy": objective(
        "def __init__(self, encoder, **fields):\n"
        "    super().__init__(encoder, **fields)\n"
        "    import copy\n"
        "    self.kept = copy.deepcopy(encoder)\n\n"
        "def encoder(self):\n    return self.kept",
        "",
        "",
    ),
    "only-decays": objective(
        "def forward(self, batch):\n"
        "    parts = [self.head(self.net(view)) for view in batch.views]\n"
        "    still = sum(p.sum() for p in self.net.parameters())\n"
        "    return Step(self.head.weight.square().sum() + 0.0 * still)",
        "",
        "",
    ),
    "moves": Broken("objective", "Bad = Objective\n", ""),
}


def test_an_encoder_that_was_not_trained_has_a_mark_beside_its_number(run):
    code, record, folder, printed = run(STILL, 1)
    assert code == 0
    rows = {row["method"]: row for row in record["rows"]}
    told = {name: len(row["warnings"]) for name, row in rows.items()}
    assert told == {"detached": 1, "a-copy": 1, "only-decays": 1, "moves": 0, "good-0": 0}
    assert "1 epochs of pretraining moved no weight of the encoder" in rows["a-copy"]["warnings"][0]
    for part in ("table.txt", "table.md", "table.tex", "report.html"):
        text = " ".join((folder / part).read_text().split())
        for name in rows:
            assert (f"{name} (!)" in text) == (told[name] > 0), (part, name)
        assert "(!) detached, seed 0; a-copy, seed 0; only-decays, seed 0: 1 epochs" in text, part
    assert "detached (!)" in printed.out
    # found in the store, it is said again
    code, again, *_ = run(STILL, 1)
    assert (code, again["rows"]) == (0, record["rows"])


AGGREGATORS = """
import numpy as np

from dbtssl.api import Config, hookimpl

DBTSSL_API = 1


class Largest:
    Config = Config
    level, needs = "any", "logits"

    def __call__(self, groups):
        return np.maximum.reduceat(groups.values, groups.offsets[:-1])


class Short(Largest):
    def __call__(self, groups):
        return super().__call__(groups)[1:]


class Infinite(Largest):
    def __call__(self, groups):
        return super().__call__(groups) + np.inf


class Words(Largest):
    def __call__(self, groups):
        return ["high"] * len(groups)


class Sorts(Largest):
    def __call__(self, groups):
        groups.values.sort()
        return super().__call__(groups)


class Sneaks(Largest):
    def __call__(self, groups):
        groups.values.flags.writeable = True
        groups.values[:] = 0.0
        return np.zeros(len(groups))


class Raises(Largest):
    def __call__(self, groups):
        raise KeyError("weights")


class Misspelt(Largest):
    needs = "feature"


class Forgets(Largest):
    def fit(self, train, val):
        self.shift = 1.0


@hookimpl
def register_components(register):
    for cls in (Largest, Short, Infinite, Words, Sorts, Sneaks, Raises, Misspelt, Forgets):
        register("aggregator", cls.__name__.lower(), f"{__name__}:{cls.__name__}", "a toy")
"""


BREAKS = {
    "short": ("gave shape (", "one score a group"),
    "infinite": ("gave scores of volumes that are not finite", "logarithm of 0"),
    "words": ("expected numbers", "one score a group"),
    "sorts": ("it changes the groups that it is given", "np.sort(groups.values)"),
    "sneaks": ("changed the groups that it was given", "work on a copy"),
    "raises": ("KeyError: 'weights'", "--debug"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_an_aggregator_that_breaks_costs_the_levels_that_need_it(run, name):
    cause, step = BREAKS[name]
    options = ("--set", f"aggregate.slice={name}")
    code, record, folder, printed = run({}, 2, *options, files={"scores": AGGREGATORS})
    assert code == 2
    assert scored(folder) == {"slice": ["good-0", "good-1"], "volume": [], "patient": []}
    assert "2 of 2 rows failed" in printed.err
    for row in record["rows"]:
        assert sorted(row["missing"]) == ["breast", "patient", "volume"]
        for why in row["missing"].values():
            assert why["reason"].startswith(
                f"aggregator {name!r} of plugin_scores.py (no settings): "
            )
            assert cause in why["reason"]
            assert step in why["hint"]
    notes = json.loads((folder / "table.json").read_text())["notes"]
    assert (
        len(
            [
                n
                for n in notes
                if "good-1, seed 0 (volume, breast, patient level), failed: aggregator" in n
            ]
        )
        == 1
    )
    assert "good-0, seed 0 (volume, breast, patient level): aggregator" in " ".join(
        printed.err.split()
    )
    assert (folder / "report.html").is_file()


def test_an_aggregator_of_breasts_costs_the_breasts_alone(run):
    options = ("--set", "aggregate.breast=short")
    code, record, folder, _ = run({}, 2, *options, files={"scores": AGGREGATORS})
    assert code == 2
    assert set(map(tuple, scored(folder).values())) == {("good-0", "good-1")}
    assert [sorted(row["missing"]) for row in record["rows"]] == [["breast"], ["breast"]]


def test_an_aggregator_that_sorts_what_it_is_given_changes_no_number(run):
    """It did: the slices' AUC of every row went from 31.2 to 34.2."""
    plain, sorts, sneaks = (
        run({}, 2, "--set", f"aggregate.slice={name}", files={"scores": AGGREGATORS}, out=name)[2]
        for name in ("max", "sorts", "sneaks")
    )
    values = [
        [
            (r["method"], r["cells"]["auc"]["value"])
            for r in json.loads((folder / "table.json").read_text())["rows"]
            if r["level"] == "slice" and not r["subgroup"]
        ]
        for folder in (plain, sorts, sneaks)
    ]
    assert len(values[0]) > 4
    assert values[0] == values[1] == values[2]


def test_an_aggregator_of_patches_that_breaks_leaves_reasons(run):
    options = ("--set", "aggregate.patch=raises")
    code, record, folder, printed = run({}, 2, *options, files={"scores": AGGREGATORS})
    assert code == 2
    assert scored(folder)["slice"] == []
    assert [row["failure"].split(":")[0] for row in record["rows"]] == [
        "aggregator 'raises' of plugin_scores.py (no settings)"
    ] * 2
    assert "2 of 2 rows failed" in printed.err


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("misspelt", "needs is 'feature', expected logits or features. Did you mean 'features'?"),
        ("forgets", "what it learns would be lost"),
    ],
)
def test_an_aggregator_that_cannot_be_kept_is_refused_before_any_work(run, name, cause):
    options = ("--set", f"aggregate.slice={name}")
    code, record, _, printed = run({}, 2, *options, files={"scores": AGGREGATORS})
    assert (code, record) == (2, None)
    spoken = " ".join(printed.err.split())
    assert f"aggregate.slice: aggregator {name!r} of " in spoken
    assert cause in spoken
    assert "prepare" not in printed.err


EARLY = {
    "no-step": Broken(
        "objective",
        "class Bad(nn.Module):\n    Config = Settings\n    views = ()\n"
        "    def encoder(self):\n        return None\n",
        "has no after_step()",
    ),
    "no-keyword": Broken(
        "sampler",
        "class Bad(Sampler):\n    Config = Settings\n    def __init__(self):\n        pass\n",
        "could not be built as Bad(temperature=0.25)",
    ),
    "missing": Broken("finetuner", "Bad = 3\n", "got 3, expected a class"),
}


def test_what_is_broken_before_any_work_is_a_row_and_is_said_at_once(run):
    code, record, folder, printed = run(EARLY, 1)
    assert code == 2
    spoken = " ".join(printed.err.split())
    for name, plugin in EARLY.items():
        row = next(r for r in record["rows"] if r["method"] == name)
        assert plugin.cause in row["failure"]
        assert f"plugin_{name.replace('-', '_')}.py" in row["failure"]
        said = f"row {name} cannot be run, the others go on: {row['failure']}"
        assert spoken.index(said) < spoken.index("stages run")
    assert scored(folder)["volume"] == ["good-0"]


def test_rows_that_are_all_broken_are_refused_before_any_work(run):
    code, record, _, printed = run(EARLY, 0)
    assert (code, record) == (2, None)
    assert all(plugin.cause in " ".join(printed.err.split()) for plugin in EARLY.values())
    assert "prepare" not in printed.err


def test_a_plan_says_which_rows_cannot_be_run(run):
    code, record, _, printed = run(EARLY, 1, "--plan")
    assert (code, record) == (0, None)
    assert "row no-step cannot be run: " in " ".join(printed.err.split())
    assert "good-0, seed 0" in printed.out
    assert "no-step, seed 0" not in printed.out


def test_a_name_that_nobody_knows_is_refused_at_once(run):
    code, record, _, printed = run({}, 1, "--set", 'methods=["good-0", "moco-v3"]')
    assert (code, record) == (2, None)
    assert "no method named 'moco-v3'. Did you mean 'moco-v2'?" in " ".join(printed.err.split())


def test_an_interrupt_ends_the_run(run):
    stops = objective("def forward(self, batch):\n    raise KeyboardInterrupt", "", "")
    code, record, _, printed = run({"stops": stops}, 1)
    assert (code, record) == (130, None)
    assert "interrupted" in printed.err


def test_a_worker_process_hands_the_whole_reason_on(run):
    bad = {"reads-labels": TEN["reads-labels"], "no-positive": TEN["no-positive"]}
    code, record, folder, printed = run(bad, 1, "--set", "run.workers=1")
    assert code == 2
    check_reasons(bad, record, folder, printed)


def test_patches_larger_than_the_slices_are_refused_when_the_slices_are_known(run):
    assert run({}, 1)[0] == 0
    for options in (("--plan",), ()):
        code, *_, printed = run({}, 1, "--set", "predict.patch_size=81", *options)
        assert code == 2
        spoken = " ".join(printed.err.split())
        assert (
            "predict.patch_size: got 81, but 52 of 52 volumes have slices that are smaller"
            in spoken
        )
        assert "set predict.patch_size to at most 80" in spoken
    assert run({}, 1, "--set", "predict.patch_size=80", "--plan")[0] == 0
