from dataclasses import replace

import pytest

from dbtssl.evaluation.catalogue import DEFAULT
from dbtssl.evaluation.protocol import STRICT
from dbtssl.report.build_table import build_table


def marks(table, metric="auc"):
    return [(row.method, row.cells[metric].rank) for row in table.rows if row.kind == "method"]


def test_rows_stand_by_level_with_references_once(entry):
    both = ("slice", "volume")
    table = build_table("T", [entry("a", levels=both), entry("b", 0.8, levels=both)], phantom=False)
    assert [(row.level, row.method) for row in table.rows] == [
        (level, method)
        for level in both
        for method in ("a", "b", "frames in the volume", "all-normal")
    ]
    assert table.metrics == DEFAULT
    assert table.title == "T"


def test_a_phantom_says_so_in_the_title(entry):
    assert build_table("T", [entry()], phantom=True).title == "T (phantom, not patients)"


def test_best_and_second(entry):
    table = build_table(
        "T", [entry("a", 0.8), entry("b", 0.9), entry("c", 0.7), entry("d", 0.9)], phantom=False
    )
    assert marks(table) == [("a", "second"), ("b", "best"), ("c", ""), ("d", "best")]
    assert marks(table, "npv") == [(m, "") for m in "abcd"]  # all equal: there is no best
    assert all(
        c.rank == "" for row in table.rows if row.kind != "method" for c in row.cells.values()
    )


def test_values_that_differ_by_rounding_alone_share_a_mark(entry):
    third = 0.1 + 0.2  # 0.30000000000000004
    table = build_table("T", [entry("a", 0.3), entry("b", third), entry("c", 0.2)], phantom=False)
    assert marks(table) == [("a", "best"), ("b", "best"), ("c", "second")]
    table = build_table("T", [entry("a", 0.3), entry("b", third)], phantom=False)
    assert marks(table) == [("a", ""), ("b", "")]


def test_what_is_not_said_of_all_methods_names_its_own(entry):
    def told(*notes):
        entries = [
            replace(e, score=e.score.model_copy(update={"notes": said}))
            for e, said in zip((entry("a"), entry("b", 0.8)), notes, strict=True)
        ]
        return [n for n in build_table("T", entries, phantom=False).notes if "weak" in n]

    assert told(("weak.",), ("weak.",)) == ["weak."]
    assert told((), ("weak.",)) == ["b: weak."]


def test_one_method_alone_is_not_the_best(entry):
    assert marks(build_table("T", [entry()], phantom=False)) == [("sift-dbt", "")]


@pytest.mark.parametrize(
    "other",
    [
        {"evaluation_set": "c" * 64},
        {"protocol": STRICT.model_copy(update={"specificity_rule": "nearest"})},
        {"levels": ("slice",)},
    ],
)
def test_rows_that_were_not_measured_alike_are_not_ranked_together(entry, other):
    table = build_table("T", [entry("a", 0.8), entry("b", 0.9, **other)], phantom=False)
    assert {rank for _, rank in marks(table)} == {""}
    assert len(table.groups()) == 2
    assert [row.kind for row in table.rows].count("rule") == 2


def test_the_papers_number_stands_beside_its_like(entry, reported):
    ours = entry(reported=(reported(),))
    table = build_table("T", [ours], phantom=False, evaluation_sets={"b" * 64: "the-set"})
    first = table.rows[0]
    assert {m: c.paper for m, c in first.cells.items() if c.paper is not None} == {
        "auc": 92.69,
        "npv": 99.81,
    }
    assert not any("paper's number" in note for note in table.notes)
    assert (
        "Paper AUC beside sift-dbt (volume level): Table 3, protocol strict on the-set. It may differ from ours: "
        "preparation, random numbers and the training patients need not be the paper's."
    ) in table.notes


@pytest.mark.parametrize(
    ("change", "sets", "why"),
    [
        (
            {},
            {},
            "the paper's row is protocol strict on the-set; this one is protocol strict on an evaluation set of no",
        ),
        ({}, {"b" * 64: "other-set"}, "this one is protocol strict on other-set"),
        (
            {"protocol": "as-published"},
            {"b" * 64: "the-set"},
            "the paper's row is protocol as-published on the-set",
        ),
        (
            {"backbone": "cnn7"},
            {"b" * 64: "the-set"},
            "no row for resnet50, discriminative fine-tuning and 20 patches",
        ),
        ({"finetuner": "linear"}, {"b" * 64: "the-set"}, "the paper has no row for"),
        ({"patches": 1}, {"b" * 64: "the-set"}, "the paper has no row for"),
        ({"level": "slice"}, {"b" * 64: "the-set"}, "the paper has no row for"),
    ],
)
def test_the_papers_number_is_left_out_and_the_note_says_why(entry, reported, change, sets, why):
    table = build_table(
        "T", [entry(reported=(reported(**change),))], phantom=False, evaluation_sets=sets
    )
    assert all(cell.paper is None for row in table.rows for cell in row.cells.values())
    notes = [
        note
        for note in table.notes
        if note.startswith("No paper's number beside sift-dbt (volume level):")
    ]
    assert len(notes) == 1
    assert why in notes[0]


def test_a_failed_run_is_a_row_and_a_note(entry):
    table = build_table(
        "T", [entry("a"), entry("b", failure="the loss is not finite", seed=3)], phantom=False
    )
    failed = table.rows[1]
    assert (failed.method, failed.seed, failed.failure) == ("b", 3, "the loss is not finite")
    assert {cell.value.value for cell in failed.cells.values()} == {None}
    assert "b, seed 3, failed: the loss is not finite." in table.notes


def test_only_failed_runs_leave_their_notes(entry):
    table = build_table("T", [entry(failure="no memory")], phantom=True)
    assert table.rows == ()
    assert any("no memory" in note for note in table.notes)


def test_notes_say_what_a_reader_must_know(entry):
    table = build_table(
        "T",
        [
            entry("a", epochs_done=3, epochs_planned=4000),
            entry("b", epochs_done=9, epochs_planned=9),
        ],
        phantom=False,
    )
    assert STRICT.words() in table.notes
    assert any("Small sample at volume level: 21 positive patients" in note for note in table.notes)
    assert "Pretrained for fewer epochs than the method's own schedule: a." in table.notes
    assert any(
        note.startswith(
            "Without interval: AUC, NPV, NR, AR, SP@87, SP@80 of frames in the volume (volume level)"
        )
        and note.endswith("all scores are equal.")
        for note in table.notes
    )


def test_thirty_positive_patients_are_enough(entry):
    table = build_table("T", [entry(n_pos_patients=30)], phantom=False)
    assert not any("Small sample" in note for note in table.notes)


def test_an_entry_without_a_score_and_without_a_reason_still_says_so(entry):
    from dataclasses import replace

    table = build_table("T", [entry("a"), replace(entry("b"), score=None)], phantom=False)
    assert "b, seed 0, failed: no reason given." in table.notes
