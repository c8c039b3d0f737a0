from __future__ import annotations

import pytest

from dbtssl.evaluation.comparison import Difference
from dbtssl.evaluation.metrics import METRICS
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.values import Row, Score, Value
from dbtssl.interfaces import Reported
from dbtssl.report.build import build_table
from dbtssl.report.table import Compared, Entry, Tie

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
        values=values or dict.fromkeys(METRICS, Value(reason="there are no scores")),
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
        values = {m: value(s) for m, s in zip(METRICS, shares, strict=True)}
        rows.append(row(level, values=values, **kwargs))
        chance = {m: Value(value=0.5, reason="all scores are equal") for m in METRICS}
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
        return Tie(method=method, metric=metric, level=level, evaluation_set=SETS[level])

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
