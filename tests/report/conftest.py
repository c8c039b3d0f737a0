from __future__ import annotations

import numpy as np
import pytest

from dbtssl.audit.confounders import Finding
from dbtssl.data.records import Label
from dbtssl.evaluation.catalogue import DEFAULT
from dbtssl.evaluation.comparison.compare_methods import Difference
from dbtssl.evaluation.localisation.detection import PRIMARY
from dbtssl.evaluation.metrics.roc_bands import reliability, roc_band
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score_set import ScoreSet
from dbtssl.evaluation.values import CurvePoint, LocalisationResult, Row, Score, Value
from dbtssl.interfaces import Reported
from dbtssl.report.build_table import build_table
from dbtssl.report.html.content import (
    Content,
    Example,
    Examples,
    MethodRuns,
    Profile,
    Provenance,
    Seed,
)
from dbtssl.report.html.page import html_page
from dbtssl.report.table_model import Compared, Entry, TiedMethod

SETS = {"slice": "a" * 64, "volume": "b" * 64}
COUNTS = {"slice": (320, 58_980), "volume": (39, 3_736)}


def value(share, half=0.05):
    return Value(value=share, low=max(share - half, 0), high=min(share + half, 1))


def row(level, kind="method", name="", values=None, evaluation_set=None, n_pos_patients=21):
    n_pos, n_neg = COUNTS[level]
    return Row(
        kind=kind,
        name=name,
        level=level,
        values=values or dict.fromkeys(DEFAULT, Value(reason="there are no scores")),
        n_pos=n_pos,
        n_neg=n_neg,
        n_pos_patients=n_pos_patients,
        n_patients=843,
        evaluation_set=evaluation_set or SETS[level],
        threshold=-1.25 if kind == "method" else None,
    )


def make_score(auc=0.9, levels=("volume",), protocol=STRICT, patches=20, **kwargs):
    rows = []
    for level in levels:
        shares = (auc, 0.9981, 0.8397, 0.8462, 0.8086, 0.9781)
        values = {m: value(s) for m, s in zip(DEFAULT, shares, strict=True)}
        rows.append(row(level, values=values, **kwargs))
        chance = {m: Value(value=0.5, reason="all scores are equal") for m in DEFAULT}
        rows.append(row(level, "shortcut", "frames in the volume", chance, **kwargs))
        fixed = dict(chance, npv=Value(value=0.9897, reason="a fixed rule has no interval"))
        rows.append(row(level, "rule", "all-normal", fixed, **kwargs))
    return Score(
        protocol=protocol,
        slice_aggregator="Mean",
        volume_aggregator="Max",
        patches=patches,
        rows=tuple(rows),
    )


@pytest.fixture
def entry():
    def make(method="sift-dbt", auc=0.9, **kwargs):
        of_entry = {
            k: kwargs.pop(k)
            for k in ("seed", "epochs_done", "epochs_planned", "reported", "failure")
            if k in kwargs
        }
        names = {k: kwargs.pop(k) for k in ("backbone", "finetuner") if k in kwargs}
        failed = bool(of_entry.get("failure"))
        return Entry(
            method=method,
            **({"backbone": "resnet50", "finetuner": "discriminative"} | names),
            **({"seed": 0} | of_entry),
            score=None if failed else make_score(auc, **kwargs),
        )

    return make


@pytest.fixture
def without_values():
    """An entry whose every value is missing, with its references."""
    rows = tuple(
        row("volume", kind, name)
        for kind, name in (
            ("method", ""),
            ("shortcut", "frames in the volume"),
            ("rule", "all-normal"),
        )
    )
    score = make_score().model_copy(update={"rows": rows})
    return Entry("sift-dbt", "resnet50", "linear", 0, score)


@pytest.fixture
def reported():
    def make(**change):
        return Reported(
            **{
                "level": "volume",
                "backbone": "resnet50",
                "finetuner": "discriminative",
                "patches": 20,
                "values": {"auc": 92.69, "npv": 99.81},
                "protocol": "strict",
                "evaluation_set": "the-set",
                "source": "Table 3",
            }
            | change
        )

    return make


@pytest.fixture
def difference():
    def make(method="sift-dbt", baseline="random-init", level="volume", **change):
        fields = {
            "metric": "auc",
            "evaluation_set": SETS[level],
            "difference": 0.2,
            "low": 0.081,
            "high": 0.319,
            "p": 0.001,
            "p_holm": 0.002,
            "n_pos_patients": 21,
            "seeds": 1,
            "baseline_seeds": 1,
        }
        return Difference(method=method, baseline=baseline, level=level, **(fields | change))

    return make


@pytest.fixture
def tie():
    def make(method, metric="auc", level="volume"):
        return TiedMethod(method=method, metric=metric, level=level, evaluation_set=SETS[level])

    return make


@pytest.fixture
def table(entry, reported, difference, tie):
    """Three methods of one seed with a paper's number, differences to the baseline, and a tie."""
    entries = [
        entry("random-init", 0.7),
        entry("moco-v2", 0.85, epochs_done=3, epochs_planned=200),
        entry("sift-dbt", 0.9, epochs_done=4000, epochs_planned=4000, reported=(reported(),)),
    ]
    compared = Compared(
        baseline="random-init",
        differences=(
            difference("moco-v2", difference=0.15, low=-0.012, high=0.312, p=0.06, p_holm=0.06),
            difference("sift-dbt"),
        ),
        ties=(tie("moco-v2"),),
        notes=("The smallest difference is known.",),
    )
    sets = {SETS["volume"]: "the-set"}
    return build_table("Title", entries, phantom=True, evaluation_sets=sets, compared=compared)


HOSTILE = (
    "=cmd|'/c calc'!A1 [red]x[/red] <script>alert(1)</script><img src=x onerror=alert(2)> \"' {{ 7*7 }} `a` **b** _c_\n"
    "| # [l](javascript:alert(3)) \\input{/etc/passwd} $x^2$ % & ~ \x1b[31m\u202e\u200b\x00"
)
"""A name with something for every renderer: formula, markup of rich, HTML, Jinja, Markdown, LaTeX, ANSI, bidi."""


@pytest.fixture
def hostile():
    return HOSTILE


def units(level, n=40, seed=0, shift=1.5):
    """Units of 10 patients, 5 of them positive, a quarter of whose units are abnormal."""
    rng = np.random.default_rng(seed)
    patients = np.arange(n) % 10
    abnormal = (patients < 5) & (rng.random(n) < 0.5)
    scores = rng.normal(size=n) + shift * abnormal
    ids = tuple(f"{level}-{i:03d}" for i in range(n))
    return ScoreSet(level, ids, patients.astype(np.int64), abnormal, scores)


@pytest.fixture
def content(entry, difference, tie):
    """A whole report without a run; ``name`` is what everything is called that a plugin or a data set names."""

    def make(name="sift-dbt", title="Title", phantom=True):
        levels = ("slice", "volume")
        names = ("random-init", "moco-v2", name)
        entries = [entry(n, 0.7 + i / 10, levels=levels) for i, n in enumerate(names)]
        entries.append(entry("broken", failure=f"no memory {name}"))
        compared = Compared(
            "random-init",
            (difference("moco-v2", difference=0.1), difference(name)),
            (tie("moco-v2"),),
        )
        methods = []
        for i, n in enumerate(names):
            sets = {level: units(level, seed=i) for level in levels}
            rows = {r.level: r for r in make_score(levels=levels).rows if r.kind == "method"}
            curve = tuple(
                CurvePoint(level=level, patches=n, auc=value(0.6 + n / 20))
                for level in levels
                for n in (1, 2, 3)
            )
            places = LocalisationResult(
                rule="A hit is a hit.",
                n_volumes=5,
                n_slices=9,
                slice_hit=value(0.625),
                slice_chance=0.375,
                patch_hit=Value(reason="no places"),
                patch_chance=None,
                detection={PRIMARY: value(0.4375)},
            )
            log = ({"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.5})
            bands = {level: roc_band([s], 0.95, 50) for level, s in sets.items()}
            seed = Seed(
                seed=0,
                sets=sets,
                rows=rows,
                patch_curve=curve,
                looked=places,
                reliability=reliability(sets["slice"], 0.2, 0.95),
                pretraining=log,
                finetuning=log,
                monitors=({"epoch": 0.0, "knn_auc": 0.5}, {"epoch": 2.0, "knn_auc": 0.625}),
            )
            methods.append(MethodRuns(n, (seed,), bands))
        example = Example(
            volume=name,
            label=Label.CANCER,
            outcome="missed",
            z=3,
            n_slices=9,
            image=np.tile(np.arange(60, dtype=np.uint8) * 4, (80, 1)),
            scale=0.5,
            corners=np.array([[0, 0], [40, 30], [90, 60]]),
            logits=np.array([-1.0, 2.0, 0.5]),
            patch_size=64,
            boxes=((20.0, 30.0, 25.0, 35.0),),
        )
        z = np.arange(9)
        profile = Profile(name, Label.CANCER, z, np.sin(z), (z > 2) & (z < 6), "missed")
        finding = Finding(
            feature="side",
            auc=value(0.8),
            score="left",
            n_pos=3,
            n_neg=4,
            n_pos_patients=2,
            n_patients=5,
            meaning=name,
            excludes_chance=True,
        )
        return Content(
            name=name,
            table=build_table(title, entries, phantom=phantom, compared=compared),
            phantom=phantom,
            methods=tuple(methods),
            looked=Examples(name, 0, (profile,), (example,)),
            counts=(("test", "cancer", 2, 3, 60, 12),),
            audit=(finding,),
            provenance=Provenance(
                {"data": "d" * 64},
                {"torch": "2.10"},
                {"name": name},
                [("score", name, "k" * 32, "3")],
            ),
        )

    return make


PAGES = {}


@pytest.fixture
def page_of(content):
    """The page of `content`, made once for all tests of a process: drawing takes seconds."""

    def get(**change):
        key = tuple(sorted(change.items()))
        if key not in PAGES:
            PAGES[key] = html_page(content(**change))
        return PAGES[key]

    return get
