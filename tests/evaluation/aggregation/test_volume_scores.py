import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dbtssl.errors import DataError
from dbtssl.evaluation.aggregation.volume_scores import read_labels, read_volume_scores
from dbtssl.evaluation.protocol import STRICT, protocol
from dbtssl.evaluation.score import score_volumes

from ..conftest import balanced


def write(path, rows, header="volume,patient,label,score"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def many(prefix, seed, patients=20, positives=6):
    """Two volumes a patient; only the first of a biopsied patient is abnormal."""
    rng = np.random.default_rng(seed)
    return [
        (
            f"{prefix}{p}-{v}",
            f"{prefix}{p}",
            int(p < positives and v == 0),
            rng.normal() + (p < positives),
        )
        for p in range(patients)
        for v in (0, 1)
    ]


def test_four_columns_are_enough_for_volumes_and_patients(tmp_path):
    test = write(tmp_path / "t.csv", many("T", 0))
    val = write(tmp_path / "v.csv", many("V", 1))
    result = score_volumes(read_volume_scores(test), read_volume_scores(val), STRICT)
    assert [(r.level, r.kind) for r in result.rows] == [
        ("volume", "method"),
        ("volume", "rule"),
        ("patient", "method"),
        ("patient", "rule"),
    ]
    rows = many("T", 0)
    labels, scores = [r[2] for r in rows], [r[3] for r in rows]
    assert result.rows[0].values["auc"].value == pytest.approx(roc_auc_score(labels, scores))
    of_patients = [max(r[3] for r in rows if r[1] == f"T{p}") for p in range(20)]
    assert result.rows[2].values["auc"].value == pytest.approx(
        roc_auc_score([p < 6 for p in range(20)], of_patients)
    )
    of_val = many("V", 1)
    assert result.rows[0].threshold == balanced(
        np.array([bool(r[2]) for r in of_val]), np.array([r[3] for r in of_val])
    )
    assert any("No breast level" in note for note in result.notes)


def test_without_validation_there_is_no_threshold(tmp_path):
    row = score_volumes(
        read_volume_scores(write(tmp_path / "t.csv", many("T", 0))), None, STRICT
    ).rows[0]
    assert row.values["nr"].reason == "no threshold: no validation predictions were given"


def test_study_and_view_give_breasts_and_the_shortcut_of_views(tmp_path):
    rows = [(*row[:4], "S", "lcc" if row[0].endswith("0") else "rmlo") for row in many("T", 0)]
    path = write(tmp_path / "t.csv", rows, "volume,patient,label,score,study,view")
    result = score_volumes(read_volume_scores(path), None, STRICT)
    assert {r.level for r in result.rows} == {"volume", "breast", "patient"}
    breasts = next(r for r in result.rows if r.level == "breast")
    assert (breasts.n_pos, breasts.n_neg) == (6, 34)
    assert "volumes in the study" in {r.name for r in result.rows}


@pytest.mark.parametrize(
    ("word", "abnormal"),
    [("normal", 0), ("BENIGN", 1), ("cancer", 1), ("1", 1), ("0", 0), ("abnormal", 1)],
)
def test_labels_in_words_and_numbers(tmp_path, word, abnormal):
    path = write(tmp_path / "t.csv", [("a", "p", word, 1)])
    assert read_volume_scores(path).abnormal.tolist() == [bool(abnormal)]


def test_actionable_is_left_out_or_normal(tmp_path):
    path = write(
        tmp_path / "t.csv",
        [("a", "p", "actionable", 1), ("b", "q", "cancer", 2), ("c", "r", "normal", 0)],
    )
    scores = read_volume_scores(path)
    assert score_volumes(scores, None, STRICT).rows[0].n_neg == 1
    other = protocol("strict-actionable-normal")
    assert score_volumes(scores, None, other).rows[0].n_neg == 2
    only = read_volume_scores(write(tmp_path / "t.csv", [("a", "p", "actionable", 1)]))
    with pytest.raises(DataError, match="no volume is left"):
        score_volumes(only, None, STRICT)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "p", 0, 1), ("a", "p", 0, 2)], r"line 3: volume a is there twice"),
        ([("a", "p", 0, "nan")], r"line 2: score 'nan' is not a finite number"),
        ([("a", "p", 0, "inf")], "score 'inf' is not a finite number"),
        ([("a", "p", 0, "")], "score '' is not a finite number"),
        ([("a", "p", 0, "high")], "score 'high' is not a finite number"),
        ([("a", "p", 0, '"0,5"')], "score '0,5' is not a finite number"),
        ([("a", "p", 0, "1_000")], "score '1_000' is not a finite number"),
        ([("a", "p", 0, "1e999")], "score '1e999' is not a finite number"),
        ([("a", "p", 0, 2**53 + 1)], r"line 2: score 9007199254740993 is an integer beyond 2\^53"),
        (
            [("a", "p", 0, f"-{2**60}.0")],
            r"score -1152921504606846976.0 is an integer beyond 2\^53",
        ),
        (
            [("a", "p", 0, "0.99999999999999999999"), ("b", "p", 0, "1.0")],
            "line 3: score 1.0, and 0.99999999999999999999 in .*line 2: one number in double precision",
        ),
        ([("a", "p", 0, "1e-400"), ("b", "p", 0, "0")], "line 3: score 0, and 1e-400 in "),
        ([("a", "12", 0, 1), ("b", "0012", 0, 2)], "patients '12' and '0012' are one number"),
        ([("7", "p", 0, 1), ("7.0", "p", 0, 2)], "volumes '7' and '7.0' are one number"),
        ([("a", "p", 2, 1)], r"line 2: unknown label '2'"),
        ([("a", "p", "canser", 1)], r"unknown label 'canser'\. Did you mean 'cancer'"),
        ([("a", "", 0, 1)], "volume or patient is empty"),
        ([], "no rows"),
    ],
)
def test_a_bad_row(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_volume_scores(write(tmp_path / "t.csv", rows))


@pytest.mark.parametrize("column", ["volume", "patient", "label", "score"])
def test_a_missing_column(tmp_path, column):
    names = [n for n in ("volume", "patient", "label", "score") if n != column]
    with pytest.raises(DataError, match=f"missing columns {column}; found {', '.join(names)}"):
        read_volume_scores(write(tmp_path / "t.csv", [], ",".join(names)))


def test_a_view_that_is_none(tmp_path):
    path = write(tmp_path / "t.csv", [("a", "p", 0, 1, "left")], "volume,patient,label,score,view")
    with pytest.raises(DataError, match="view 'left'"):
        read_volume_scores(path)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_volume_scores(tmp_path / "gone.csv")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as a table of scores: line 1 is not UTF-8"):
        read_volume_scores(tmp_path / "t.csv")


def test_a_patient_in_both_files(tmp_path):
    scores = read_volume_scores(write(tmp_path / "t.csv", many("T", 0)))
    with pytest.raises(
        DataError, match="20 patients are in the validation and the test file: T0, T1"
    ):
        score_volumes(scores, scores, STRICT)


def test_scores_that_doubles_hold_are_taken_as_they_are(tmp_path):
    texts = ["9007199254740992", "-9007199254740992", "0.1", "0.10", "1e300", "123456789.123456789"]
    path = write(tmp_path / "t.csv", [(f"v{i}", "p", 0, text) for i, text in enumerate(texts)])
    assert read_volume_scores(path).scores.tolist() == [float(text) for text in texts]


@pytest.mark.parametrize(
    ("patient", "other"), [("7", "007"), ("7", "7.0"), ("P7", "p007"), ("S\u00e9b", "Se\u0301b")]
)
def test_a_patient_in_both_files_in_two_spellings(tmp_path, patient, other):
    rows, of_val = many("T", 0), many("V", 1)
    test = write(tmp_path / "t.csv", [*rows, ("x", patient, 0, 1)])
    val = write(tmp_path / "v.csv", [*of_val, ("y", other, 0, 1)])
    with pytest.raises(
        DataError, match=r"1 patients are in the validation and the test file: .* \("
    ):
        score_volumes(read_volume_scores(test), read_volume_scores(val), STRICT)


@pytest.mark.parametrize(("volume", "other"), [("x", "x"), ("0012", "12.0")])
def test_a_volume_in_both_files_under_two_patients(tmp_path, volume, other):
    test = write(tmp_path / "t.csv", [*many("T", 0), (volume, "T99", 0, 1)])
    val = write(tmp_path / "v.csv", [*many("V", 1), (other, "V99", 0, 1)])
    with pytest.raises(
        DataError, match="1 volumes are in the validation and the test file"
    ) as error:
        score_volumes(read_volume_scores(test), read_volume_scores(val), STRICT)
    assert other in error.value.message


def test_decimal_commas_are_refused_and_points_are_right(tmp_path):
    """As a table of probabilities comes out of a spreadsheet that writes commas: 0 and 824 for 0.824."""
    rows = [(*row[:3], f"{1 / (1 + np.exp(-row[3])):.3f}") for row in many("T", 0)]
    point = write(tmp_path / "point.csv", rows)
    value = score_volumes(read_volume_scores(point), None, STRICT).rows[0].values["auc"].value
    assert value == pytest.approx(roc_auc_score([r[2] for r in rows], [float(r[3]) for r in rows]))
    comma = write(tmp_path / "comma.csv", [(*r[:3], r[3].replace(".", ",")) for r in rows])
    with pytest.raises(DataError, match="line 2: 5 cells, the header has 4") as error:
        read_volume_scores(comma)
    assert "decimals with a point" in error.value.hint


def test_labels_of_another_file(tmp_path):
    path = write(
        tmp_path / "t.csv", [("P1_S1_lcc", "P1", 3), ("P2_S2_rcc", "P2", 1)], "volume,patient,score"
    )
    published = write(
        tmp_path / "l.csv",
        [("P1", "S1", "LCC", 0, 0, 1, 0), ("P2", "S2", "rcc", 1, 0, 0, 0)],
        "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer",
    )
    assert read_volume_scores(path, read_labels(published)).labels == ("benign", "normal")
    own = write(tmp_path / "o.csv", [("P1_S1_lcc", "cancer")], "volume,label")
    with pytest.raises(DataError, match="volume P2_S2_rcc has no label in the file of --labels"):
        read_volume_scores(path, read_labels(own))
    twice = write(tmp_path / "w.csv", [("a", "cancer"), ("a", "normal")], "volume,label")
    with pytest.raises(DataError, match="volume a has two labels"):
        read_labels(twice)
    with pytest.raises(DataError, match="has the columns case, truth"):
        read_labels(write(tmp_path / "x.csv", [("a", 1)], "case,truth"))
    flags = write(
        tmp_path / "f.csv",
        [("P1", "S1", "lcc", 1, 0, 1, 0)],
        "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer",
    )
    with pytest.raises(DataError, match="expected one label of four to be 1"):
        read_labels(flags)


def test_a_label_under_another_spelling_is_shown(tmp_path):
    path = write(tmp_path / "t.csv", [("0012", "P1", 3)], "volume,patient,score")
    with pytest.raises(DataError, match="volume 0012 has no label") as error:
        read_volume_scores(path, {"12": "cancer"})
    assert "0012 (12)" in error.value.hint


def test_probabilities_are_spoken_of_for_logits_alone(tmp_path):
    scores = read_volume_scores(write(tmp_path / "t.csv", many("T", 0)))
    val = read_volume_scores(write(tmp_path / "v.csv", many("V", 1)))
    order = score_volumes(scores, val, STRICT).rows[0]
    logits = score_volumes(scores, val, STRICT, logits=True).rows[0]
    assert order.values["brier"].reason == "the scores are no logits"
    assert logits.values["brier"].value is not None
    assert order.values["auc"] == logits.values["auc"]
    published = protocol("as-published")
    assert score_volumes(scores, None, published).rows[0].threshold is None
    assert score_volumes(scores, None, published, logits=True).rows[0].threshold is not None
