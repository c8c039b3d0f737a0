import json
from pathlib import Path

import numpy as np
import pytest

from dbtssl.data.records import Box, Label
from dbtssl.errors import DataError
from dbtssl.evaluation.localisation.detection import (
    Detection,
    detection_metrics,
    detection_values,
    match,
    sensitivities,
)
from dbtssl.evaluation.localisation.detection_files import read_detections, read_found

GOLDEN = Path(__file__).parents[4] / "shared" / "data" / "bcs-dbt" / "golden_froc"


def box(x=500.0, y=500.0, z=20, width=60.0, height=80.0):
    return Box(z, x, y, width, height, Label.CANCER)


def at(x, y, z, score, depth=0.0):
    """A detection whose centre is (x, y, z)."""
    return Detection(x - 10, y - 10, 20, 20, z - depth / 2, depth, score)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden files lie outside the project")
def test_the_official_code_gives_the_same_to_1e_9():
    found, patients = read_found(*(GOLDEN / f"{n}.csv" for n in ("predictions", "boxes", "labels")))
    expected = json.loads((GOLDEN / "expected.json").read_text())
    sizes = expected.pop("_n")
    assert (found.n_volumes, len(found.of_box), len(found.score)) == (
        sizes["labels"],
        sizes["boxes"],
        sizes["pred"],
    )
    assert detection_metrics(found) == pytest.approx(expected, abs=1e-9)
    values = detection_values(found, patients, 0.95)
    low, high = (getattr(values["mean_sensitivity_positive"], end) for end in ("low", "high"))
    assert low < expected["mean_sensitivity_positive"] < high


def hits(detections, boxes=None, n=40):
    return match([boxes or [box()]], [n], [detections]).box.tolist()


def test_a_hit_is_within_100_pixels_and_a_quarter_of_the_slices():
    """The box's centre is (530, 540); half its diagonal is 50."""
    assert hits([at(630, 540, 20, 1), at(630.01, 540, 20, 1)]) == [0, -1]
    assert hits([at(530, 540, 30, 1), at(530, 540, 30.01, 1), at(530, 540, 10, 1)]) == [0, -1, 0]


def test_a_large_box_reaches_as_far_as_half_its_diagonal():
    assert hits([at(780, 720, 20, 1), at(781, 720, 20, 1)], [box(300, 360, 20, 480, 360)]) == [
        0,
        -1,
    ]


def test_a_detection_on_two_boxes_takes_the_nearest_and_depth_counts():
    two = [box(z=20), box(x=520, z=20)]
    assert hits([at(531, 540, 20, 1), at(549, 540, 20, 1)], two) == [0, 1]
    apart = [box(z=15), box(z=22)]
    assert hits([at(530, 540, 20, 1)], apart) == [1]
    assert hits([at(530, 540, 20, 1, depth=30)], [box(z=20)]) == [0]


def test_interpolation_passes_thresholds_that_no_score_gives():
    """One hit at 0.5, six false positives at 0.9 on the other of two volumes: 0.667 at two a volume."""
    found = match(
        [[box()], []], [40, 40], [[at(530, 540, 20, 0.5)], [at(9, 9, 1, 0.9) for _ in range(6)]]
    )
    metrics = detection_metrics(found)
    assert metrics["sensitivity_at_2_fps_all"] == pytest.approx(2 / 3)
    assert metrics["mean_sensitivity_positive"] == 1.0


def test_several_on_one_box_count_once_and_are_no_false_positives():
    found = match([[box(), box(x=1500)]], [40], [[at(530, 540, 20, s) for s in (0.9, 0.8, 0.7)]])
    assert sensitivities(found, (1.0, 4.0)).tolist() == [0.5, 0.5]


def test_no_detection_is_0():
    found = match([[box()], []], [40, 40], [[], []])
    assert set(detection_metrics(found).values()) == {0.0}


def test_a_weight_is_a_volume_that_is_there_so_often():
    rng = np.random.default_rng(0)
    boxes = [[box(*rng.uniform(200, 800, 2))] for _ in range(6)]
    found = [
        [at(*rng.uniform(150, 900, 2), 20, float(s)) for s in rng.integers(0, 9, 7)]
        + [at(b[0].x, b[0].y, 20, 4.5)]
        for b in boxes
    ]
    weights = np.array([0, 1, 2, 3, 1, 0])
    again = np.repeat(np.arange(6), weights)
    repeated = match([boxes[i] for i in again], [40] * 7, [found[i] for i in again])
    np.testing.assert_allclose(
        sensitivities(match(boxes, [40] * 6, found), (0.5, 1, 2, 4), weights.astype(float)),
        sensitivities(repeated, (0.5, 1, 2, 4)),
        rtol=1e-12,
    )


def test_values_without_boxes_or_patients_say_why():
    empty = match([[]], [40], [[]])
    values = detection_values(empty, np.array([0]), 0.95)
    assert values["mean_sensitivity_positive"].reason == "no volume has a box"
    few = match([[box()]], [40], [[at(530, 540, 20, 1)]])
    value = detection_values(few, np.array([0]), 0.95)["mean_sensitivity_positive"]
    assert (value.value, value.reason) == (1.0, "interval needs 4 positive patients, has 1")
    many = match([[box()]] * 5, [40] * 5, [[at(530, 540, 20, 1)]] * 5)
    value = detection_values(many, np.arange(5), 0.95)["mean_sensitivity_positive"]
    assert value.reason == "every draw of patients gives the same value"


HEADER = "PatientID,StudyUID,View,X,Width,Y,Height,Z,Depth,Score\n"


def test_files_are_refused_in_words(tmp_path):
    detections, boxes, labels = (
        tmp_path / f"{n}.csv" for n in ("d", "boxes-train", "labels-train")
    )
    labels.write_text(
        "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer\nP1,S1,lcc,0,0,0,1\n"
    )
    boxes.write_text(
        "PatientID,StudyUID,View,Subject,Slice,X,Y,Width,Height,Class,AD,VolumeSlices\n"
        "P1,S1,lcc,0,20,500,500,60,80,cancer,0,40\n"
    )
    detections.write_text(HEADER + "P1,S1,LCC,520,20,530,20,20,0,0.5\n")
    found, _ = read_found(detections, boxes, labels)
    assert found.box.tolist() == [0]
    detections.write_text(HEADER + "P1,S1,rcc,520,20,530,20,20,0,0.5\n")
    with pytest.raises(DataError, match=r"1 volumes are not in .*: P1/S1/rcc"):
        read_found(detections, boxes, labels)
    detections.write_text(HEADER + "P1,S1,lcc,520,20,530,20,20,0,nan\n")
    with pytest.raises(DataError, match="line 2: Score 'nan' is not a finite number"):
        read_detections(detections)
    detections.write_text("PatientID,View\n")
    with pytest.raises(DataError, match="missing columns StudyUID, X"):
        read_detections(detections)


ONE = "P1,S1,lcc,520,20,530,20,20,2,0.5"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((ONE, ONE), r"line 3: the detection of .*line 2 once more"),
        ((ONE, "P1,S1,LCC,520.0,20,530,20,20,2,0.50"), r"line 3: the detection of .*line 2 once"),
        (("P1,S1,lcc,520,-20,530,20,20,2,0.5",), "line 2: Width -20 is negative"),
        (("P1,S1,lcc,520,20,530,-20,20,2,0.5",), "line 2: Height -20 is negative"),
        (("P1,S1,lcc,520,20,530,20,20,-2,0.5",), "line 2: Depth -2 is negative"),
        (("P1,S1,lcc,1e999,20,530,20,20,2,0.5",), "line 2: X '1e999' is not a finite number"),
        (("P1,S1,lcc,520,20,530,20,20,2,9007199254740993",), r"line 2: Score .* beyond 2\^53"),
        (("P1,S1,lcc,520,0,20,530,20,20,2,0.5",), "line 2: 11 cells, the header has 10"),
    ],
)
def test_a_row_that_would_be_another_detection(tmp_path, lines, message):
    (tmp_path / "d.csv").write_text(HEADER + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message) as error:
        read_detections(tmp_path / "d.csv")
    assert error.value.hint


def test_detections_may_reach_out_of_the_image_and_share_a_place(tmp_path):
    """Two of one place with two scores are two, as in the official code; a corner may lie outside."""
    other = ONE.replace("0.5", "0.6").replace("520", "-5")
    (tmp_path / "d.csv").write_text(HEADER + f"{ONE}\n{ONE.replace('0.5', '0.6')}\n{other}\n")
    ((_, found),) = read_detections(tmp_path / "d.csv").items()
    assert [(d.x, d.score) for d in found] == [(520, 0.5), (520, 0.6), (-5, 0.6)]
