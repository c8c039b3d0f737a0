"""`--short-side` gives slices of different widths pixels of different sizes: said, and recorded."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from dbtssl.cli.main import main


@pytest.fixture
def widths(tmp_path, dicom_writer, make_breast):
    """Slices of 120 and 160 columns, 200 rows; with ``spacing`` in mm by width."""

    def make(spacing=None):
        rows = [["file", "patient", "study", "side", "projection", "slice", "label"]]
        for i, columns in enumerate((120, 160)):
            more = {"PixelSpacing": [spacing[i]] * 2} if spacing else {}
            frames = make_breast(n=1, rows=200, columns=columns)[0]
            dicom_writer(tmp_path / "in" / f"{i}.dcm", frames, window="top", **more)
            rows.append([f"{i}.dcm", f"P{i}", "S1", "l", "cc", 0, "normal"])
        with (tmp_path / "in" / "slices.csv").open("w", newline="") as lines:
            csv.writer(lines).writerows(rows)
        return tmp_path / "in"

    return make


def call(*words):
    result = CliRunner().invoke(main, [*map(str, words)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def prepared(root, out, *words):
    said = call("data", "prepare", "slices", root, out, "--keep-ids", "--jobs", 1, *words)
    return said, call("data", "show", out), json.loads((out / "dataset.json").read_text())


def test_the_span_is_said_and_recorded(widths, tmp_path):
    *said, manifest = prepared(widths(), tmp_path / "out", "--short-side", 60)
    for output in said:
        assert "a stored pixel is from 2 to 2.667 pixels of the file wide, 1.33 times" in output
        assert "--short-side 60" in output
    assert manifest["pixel_size"] == {"smallest": 2.0, "largest": 2.6667, "unit": "file"}


def test_the_span_is_in_mm_where_the_spacing_is_known(widths, tmp_path):
    *said, manifest = prepared(widths((0.1, 0.08)), tmp_path / "out", "--short-side", 60)
    assert all("from 0.2 to 0.2133 mm wide, 1.07 times" in output for output in said)
    assert manifest["pixel_size"]["unit"] == "mm"


def test_pixels_of_the_files_own_that_differ_are_said(widths, tmp_path):
    *said, _ = prepared(widths((0.1, 0.05)), tmp_path / "out")
    for output in said:
        assert "from 0.05 to 0.1 mm wide, 2.00 times" in output
        assert "--short-side" not in output


@pytest.mark.parametrize(("spacing", "words"), [(None, ()), ((0.08, 0.06), ("--short-side", 60))])
def test_nothing_is_said_of_pixels_of_one_size(widths, tmp_path, spacing, words):
    *said, manifest = prepared(widths(spacing), tmp_path / "out", *words)
    assert not any("pixel sizes differ" in output for output in said)
    assert "pixel_size" not in manifest
