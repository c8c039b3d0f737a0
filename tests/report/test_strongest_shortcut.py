"""The note that names the worst shortcut beside the methods."""

from __future__ import annotations

import pytest

from dbtssl.evaluation.values import Value
from dbtssl.report.build_table import build_table


@pytest.fixture
def notes(entry):
    """The notes on the shortcut below a table of methods with these AUCs."""

    def make(shortcut, *methods):
        entries = []
        for i, auc in enumerate(methods):
            one = entry(f"method-{i}", auc)
            rows = [
                row.model_copy(update={"values": row.values | {"auc": shortcut}})
                if row.kind == "shortcut"
                else row
                for row in one.score.rows
            ]
            score = one.score.model_copy(update={"rows": tuple(rows)})
            entries.append(type(one)(**{**vars(one), "score": score}))
        table = build_table("title", entries, phantom=False)
        return [note for note in table.notes if note.startswith("Strongest shortcut")]

    return make


def test_the_worst_shortcut_stands_beside_the_methods(notes):
    value = Value(value=0.68, low=0.558, high=0.782)
    assert notes(value, 0.9, 0.65, 0.68) == [
        "Strongest shortcut at volume level: frames in the volume, AUC 68.0 [55.8, 78.2], without looking at an "
        "image; not above it: method-1, method-2."
    ]


def test_no_method_is_named_where_all_are_better(notes):
    value = Value(value=1.0, reason="complete")
    assert notes(value, 0.9)[0].endswith(
        "AUC 100.0, without looking at an image; not above it: method-0."
    )
    assert notes(Value(value=0.68), 0.9)[0].endswith("AUC 68.0, without looking at an image.")


@pytest.mark.parametrize("value", [Value(value=0.5), Value(value=0.4), Value(reason="one class")])
def test_what_is_not_above_chance_is_no_shortcut(notes, value):
    assert notes(value, 0.9) == []
