from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

from dbtssl.cli.main import main
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Box, Label, Volume
from dbtssl.data.splits.patient_split import split_patients
from dbtssl.report.slice_picture import SHEET, _choose, contact_sheet, count, summary


def volume(patient, view="lcc", label=Label.NORMAL, n=10, boxes=0, study="S1"):
    box = Box(4, 10, 20, 15, 10, Label.CANCER if label is Label.CANCER else Label.BENIGN)
    return Volume(patient, study, view, n, 60, 50, label, (box,) * boxes)


@pytest.fixture
def dataset(tmp_path):
    volumes = [
        volume("P1", "lcc", Label.CANCER, boxes=2),
        volume("P1", "lmlo", Label.CANCER, n=12, boxes=1),
        *(volume(f"P{i}", "rcc", Label.BENIGN, boxes=1) for i in (2, 3)),
        *(
            volume(f"P{i}", view, study=study)
            for i in (4, 5, 6)
            for view, study in (("lcc", "S1"), ("lcc", "S2"))
        ),
        volume("P7", "rmlo", Label.ACTIONABLE),
    ]
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 1024, (v.n_slices, 60, 50), dtype=np.uint16) for v in volumes]
    mask = np.zeros((60, 50), dtype=bool)
    mask[5:50, :40] = True
    return write_dataset(tmp_path / "data", volumes, arrays, [mask] * len(volumes))


def text(table):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_counts_by_hand(dataset):
    assert count(list(dataset.cohort)) == (
        7,
        10,
        11,
        112,
        36,
        5,
    )  # 9 slices about z = 4, in 4 volumes
    assert count([]) == (0, 0, 0, 0, 0, 0)


def test_the_summary_adds_up(dataset):
    lines = text(summary(dataset, split_patients(dataset.cohort))).splitlines()
    assert lines[0].split() == ["PHANTOM,", "source", "arrays,", "digest", dataset.digest[:12]]
    rows = [line.split() for line in lines[2:] if line.strip()]
    assert rows[-1] == ["all", "7", "10", "11", "112", "36", "5"]
    assert rows[-2] == [
        "left",
        "out",
        "actionable",
        "1",
        "1",
        "1",
        "10",
    ]  # empty where there is nothing, not 0
    heads = [row[0] for row in rows[:-2] if row[0] in ("train", "val", "test")]
    assert heads == ["train", "val", "test"]
    numbers = [[word for word in row if word.isdigit()] for row in rows[:-1]]
    for column, total in ((0, 7), (2, 11), (3, 112)):
        assert sum(int(row[column]) for row in numbers) == total


def test_labels_take_turns_on_the_sheet():
    cohort = [volume(f"P{i}") for i in range(100)] + [volume("C", label=Label.CANCER)]
    chosen = _choose(cohort)
    assert chosen[0] == 100  # the most severe label first
    assert len(chosen) == len(set(chosen)) == SHEET
    assert len(_choose(cohort[:100])) == SHEET
    assert max(_choose(cohort[:100])) > 90  # spread, not the first ones
    assert _choose(cohort[:3]) == [0, 1, 2]


def test_the_sheet_shows_slices_boxes_and_outlines(dataset, tmp_path):
    path = tmp_path / "sheets" / "sheet.png"
    assert contact_sheet(dataset, path) == 11
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    assert ((red > 200) & (green < 80) & (blue < 80)).sum() > 50
    assert ((red > 200) & (green > 200) & (blue < 80)).sum() > 50
    assert ((red < 80) & (blue > 200)).sum() > 200
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]


def test_prepare_and_show_from_the_command_line(small_tree, tmp_path):
    out, png = tmp_path / "out", tmp_path / "sheet.png"
    run = CliRunner().invoke
    made = run(
        main,
        [
            "data",
            "prepare",
            "bcs-dbt",
            str(small_tree.root),
            str(out),
            "--short-side",
            "60",
            "--jobs",
            "1",
        ],
    )
    assert made.exit_code == 0, made.output
    assert f"{out}: 6 volumes, digest " in made.stdout
    shown = run(main, ["data", "show", str(out), "--png", str(png)])
    assert shown.exit_code == 0, shown.output
    assert "source bcs-dbt" in shown.stdout
    assert f"{png}: 6 slices" in shown.stdout
    assert png.stat().st_size > 10_000


def test_a_phantom_is_a_phantom_whatever_source_reads_it(small_tree, tmp_path):
    (small_tree.root / "phantom.json").write_text("{}")
    for source in ("phantom", "bcs-dbt"):
        made = CliRunner().invoke(
            main,
            [
                "data",
                "prepare",
                source,
                str(small_tree.root),
                str(tmp_path / source),
                "--jobs",
                "1",
            ],
        )
        assert "6 phantom volumes" in made.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "bcs-dtb", "ROOT", "OUT"], "Did you mean 'bcs-dbt'?"),
        (["prepare", "bcs-dbt", "absent", "OUT"], "no such folder: absent"),
        (["prepare", "phantom", "ROOT", "OUT"], "is not a phantom"),
        (["show", "absent"], "no prepared data set at absent"),
    ],
)
def test_a_mistake_is_one_message_and_a_next_step(small_tree, tmp_path, arguments, message):
    places = {"ROOT": str(small_tree.root), "OUT": str(tmp_path / "out")}
    result = CliRunner().invoke(main, ["data", *(places.get(a, a) for a in arguments)])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()
