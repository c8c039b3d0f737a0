"""Several seeds: a mean that is ranked, the seeds below it, and those that failed."""

import numpy as np
import pytest

from dbtssl.report.build_table import build_table
from dbtssl.report.table_cells import seed_text, spread_text, stars_text
from dbtssl.report.table_model import Compared
from dbtssl.report.writers.markdown import markdown

AUCS = (0.80, 0.86, 0.95)


@pytest.fixture
def seeded(entry):
    entries = [entry("a", auc, seed=i) for i, auc in enumerate(AUCS)]
    entries.append(entry("a", failure="no memory", seed=3))
    return build_table("T", [*entries, entry("b", 0.9)], phantom=False)


def test_the_mean_and_its_spread_are_numpys(seeded):
    mean = seeded.rows[0]
    cell = mean.cells["auc"]
    assert cell.value.value == pytest.approx(np.mean(AUCS))
    assert cell.sd == pytest.approx(np.std(AUCS, ddof=1))
    assert spread_text("auc", cell) == "± 7.5"
    assert (mean.seeds, mean.failed_seeds) == ((0, 1, 2), (3,))
    assert seed_text(mean) == "3 seeds, 1 failed"
    assert (mean.threshold, mean.tp) == (None, None)


def test_the_mean_is_ranked_and_its_seeds_are_not(seeded):
    ranks = [(r.method, r.seed, r.cells["auc"].rank) for r in seeded.rows if r.kind == "method"]
    assert ranks == [
        ("a", None, "second"),
        ("a", 0, ""),
        ("a", 1, ""),
        ("a", 2, ""),  # 95 is above b's 90, and is one seed of three
        ("a", 3, ""),
        ("b", 0, "best"),
    ]


def test_a_failed_seed_is_shown(seeded):
    text = markdown(seeded)
    assert "| &emsp;seed 3, failed |" in text
    assert "a, seed 3, failed: no memory." in text


def test_a_metric_that_one_seed_lacks_has_no_mean(entry, without_values):
    from dataclasses import replace

    table = build_table(
        "T", [entry(), replace(without_values, backbone="resnet50", finetuner="discriminative", seed=1)],
        phantom=False,
    )  # fmt: skip
    cell = table.rows[0].cells["auc"]
    assert cell.value.value is None
    assert cell.value.reason == "there are no scores"


def test_a_difference_and_a_tie_stand_at_the_mean_alone(entry, difference, tie):
    entries = [entry("a", auc, seed=i) for i, auc in enumerate(AUCS)]
    compared = Compared("b", (difference("a", "b"),), (tie("a"),))
    table = build_table("T", [*entries, entry("b", 0.9)], phantom=False, compared=compared)
    assert [bool(r.differences) for r in table.rows[:5]] == [True, False, False, False, False]
    assert [r.cells["auc"].tied for r in table.rows[:5]] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("p", "stars"),
    [(None, ""), (0.06, ""), (0.05, ""), (0.049, "*"), (0.009, "**"), (0.0009, "***")],
)
def test_stars_come_from_the_corrected_p_alone(difference, p, stars):
    assert stars_text(difference(p=1e-9, p_holm=p)) == stars


def test_a_diagnostic_is_not_ranked(entry):
    from dbtssl.evaluation.protocol import AS_PUBLISHED

    entries = [entry(name, auc, protocol=AS_PUBLISHED) for name, auc in (("a", 0.9), ("b", 0.8))]
    for one in entries:
        rows = [r.model_copy(update={"diagnostic": True}) for r in one.score.rows]
        object.__setattr__(one, "score", one.score.model_copy(update={"rows": tuple(rows)}))
    table = build_table("T", entries, phantom=False)
    assert {c.rank for row in table.rows for c in row.cells.values()} == {""}
