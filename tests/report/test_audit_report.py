from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from dbtssl.audit.confounders import Finding
from dbtssl.evaluation.values import Value
from dbtssl.report.audit_report import as_json, auc_text, renderable, sentence, summary


def finding(value=0.68, low=0.558, high=0.782, name="frames in the volume", **change):
    fields = {"feature": name, "score": "more (fixed)", "n_pos": 39, "n_neg": 3736}
    fields |= {"n_pos_patients": 21, "n_patients": 843, "meaning": "a score grows with them"}
    auc = Value(value=value, low=low, high=high, reason=change.pop("reason", ""))
    fields["excludes_chance"] = low is not None and not low <= 0.5 <= high
    return Finding(auc=auc, **fields | change)


COMPLETE = finding(1.0, None, None, "views", reason="complete", excludes_chance=True)
HOLDS = finding(0.57, 0.45, 0.68, "side")
UNKNOWN = finding(None, None, None, "file size", reason="not known; it needs the files")


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (finding(), "0.680 [0.558, 0.782]"),
        (COMPLETE, "1.000"),
        (UNKNOWN, ""),
    ],
)
def test_auc(one, text):
    assert auc_text(one) == text


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (finding(), "A shortcut: a score grows with them."),
        (COMPLETE, "Gives the label away: a score grows with them."),
        (finding(0.93, 0.85, 0.97), "Gives the label away: a score grows with them."),
        (HOLDS, "No sign of a shortcut in this sample: the interval holds 0.5."),
        (UNKNOWN, "Not computed: not known; it needs the files."),
        (
            finding(0.5, None, None, reason="all volumes are alike in it"),
            "All volumes are alike in it.",
        ),
        (
            finding(
                1.0,
                None,
                None,
                reason="interval needs 4 positive patients, has 1",
                n_pos_patients=1,
            ),
            "Interval needs 4 positive patients, has 1.",
        ),
        (
            finding(0.3, 0.2, 0.4),
            "It predicts the label, against the expected direction: look at it before you trust a result.",
        ),
    ],
)
def test_a_plain_sentence(one, words):
    assert sentence(one) == words


def test_the_summary_counts_what_chance_would_give():
    text = summary([COMPLETE, finding(), HOLDS, UNKNOWN])
    assert text == (
        "2 of 3 features exclude 0.5; by chance alone 1 in 20 would, here 0.15. Strongest: views, AUC 1.000."
    )
    assert summary([HOLDS]).startswith("0 of 1 features exclude 0.5; by chance")
    assert "Strongest" not in summary([HOLDS])
    assert summary([UNKNOWN]) == "Nothing could be tested."


def test_json_has_it_all():
    out = json.loads(as_json("title", [finding(), UNKNOWN], ["a note"]))
    assert out["title"] == "title"
    assert out["notes"] == ["a note"]
    first, second = out["findings"]
    assert first["auc"] == {"value": 0.68, "low": 0.558, "high": 0.782, "reason": ""}
    assert (first["n_pos"], first["excludes_chance"]) == (39, True)
    assert second["auc"]["value"] is None
    assert second["sentence"] == "Not computed: not known; it needs the files."
    assert out["summary"] == summary([finding(), UNKNOWN])


def test_the_screen_shows_values_counts_sentences_and_notes():
    out = io.StringIO()
    console = Console(file=out, width=120)
    console.print(renderable("a\ntitle", [finding(), UNKNOWN], ["2,884 volumes are left out"]))
    text = out.getvalue()
    assert "a title" in text
    assert "0.680 [0.558, 0.782]" in text
    assert "39 / 3,736 (21 / 843)" in text
    assert "frames in the volume: A shortcut: a score grows with them." in text
    assert "2,884 volumes are left out" in text
    assert "1 of 1 features exclude 0.5" in text
