from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dbtssl.audit.collect import from_files, from_prepared, from_tables, with_slice_counts
from dbtssl.audit.volume_metadata import FEATURES, Seen, description_of
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, Volume
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.splits.split_lists import read_lists
from dbtssl.errors import DataError


def by_view(material):
    return {f"{v.patient}/{v.view}": v for v in material.seen}


def values(name, *seen):
    return list(next(f for f in FEATURES if f.name == name).values(seen))


def seen(patient="P1", study="S1", view="lcc", **known):
    return Seen(patient, study, view, Label.NORMAL, **known)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (
            "01-01-2000-DBT-S00163-MAMMO DIAGNOSTIC DIGITAL BILATERAL-56865",
            "MAMMO DIAGNOSTIC DIGITAL BILATERAL",
        ),
        ("01-01-2000-DBT-S00163-A-B-56865", "A-B"),
        ("01-01-2000-DBT-S00163-56865", None),
        ("1.2.826.0.1", None),
    ],
)
def test_the_description_within_a_descriptive_path(folder, expected):
    path = f"Breast-Cancer-Screening-DBT/DBT-P00013/{folder}/20566.000000-32081/1-1.dcm"
    assert description_of(path, "DBT-S00163") == expected
    assert description_of("", "DBT-S00163") is None


def test_every_real_path_has_a_description(real):
    lists = read_lists(real / "sift_dbt_lists")
    rows = [(key, row) for key, row in lists.listed.items() if row.descriptive_path]
    found = {description_of(row.descriptive_path, key.study) for key, row in rows}
    assert len(rows) == 1_910 + 3_919
    assert None not in found
    assert not any(text.startswith(("DBT-", "0")) for text in found)
    assert len(found) <= 19, "spellings in the whole collection"


def test_values_of_the_features():
    two = seen(), seen(view="rmlo"), seen(study="S2")
    assert values("volumes in the study", *two) == [2, 2, 1]
    assert values("side", *two) == [0, 1, 0]
    assert values("matrix size", seen(rows=4, columns=3), seen()) == ["4 x 3", None]
    assert values("frames in the volume", seen(n_slices=5), seen()) == [5, None]
    texts = seen(description="x DIAGNOSTIC"), seen(description="x"), seen()
    assert values("'diagnostic' in the study description", *texts) == [1, 0, None]
    assert values("study description, as spelled", *texts) == ["x DIAGNOSTIC", "x", None]
    assert values("file size", seen(file_size=7)) == [7]
    assert values("mean of the background", seen(background=0.5)) == [0.5]


def test_tables_alone(small_tree):
    material = from_tables(small_tree.root, None)
    assert len(material.seen) == 6
    assert material.seen[0] == Seen("P1", "S1", "lcc", Label.CANCER)
    assert material.parts == ("",) * 6


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="no table of labels") as error:
        from_tables(tmp_path, None)
    assert "--source" in error.value.hint


def test_files_tell_size_header_and_background(small_tree):
    raws = BcsDbt().volumes(small_tree.root)
    found = by_view(from_files(small_tree.root, raws, None, pixels=True, jobs=1))
    one = found["P1/lcc"]
    assert (one.n_slices, one.rows, one.columns) == (6, 150, 120)
    assert one.file_size == raws[0].path.stat().st_size
    assert one.background == pytest.approx(3, abs=0.05), "`breast` writes 3 outside its mask"
    plain = by_view(from_files(small_tree.root, raws, None, pixels=False, jobs=1))
    assert plain["P2/rcc"].background is None
    assert plain["P2/rcc"].n_slices == 5


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(small_tree):
    raws = BcsDbt().volumes(small_tree.root)
    one, two = (from_files(small_tree.root, raws, None, pixels=True, jobs=j) for j in (1, 2))
    assert one == two


def test_an_unreadable_file_is_counted_and_named_nowhere(small_tree, capfd):
    raws = BcsDbt().volumes(small_tree.root)
    raws[0].path.write_bytes(raws[0].path.read_bytes()[:900])
    material = from_files(small_tree.root, raws, None, pixels=True, jobs=1)
    assert material.notes == ("the files of 1 volumes could not be read",)
    assert len(material.seen) == 6
    assert by_view(material)["P1/lcc"].background is None
    assert "P1" not in "".join(capfd.readouterr())


def test_a_prepared_data_set(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(50, 90, (3, 20, 10)).astype(np.uint16)
    mask = np.zeros((20, 10), bool)
    mask[:12] = True
    volume = Volume("P1", "S1", "lcc", 0, 0, 0, Label.NORMAL)
    full = Volume("P1", "S1", "rcc", 0, 0, 0, Label.NORMAL)
    dataset = write_dataset(tmp_path, [volume, full], [frames] * 2, [mask, np.ones_like(mask)])
    material = from_prepared(dataset, None, pixels=True)
    first, second = material.seen
    assert (first.n_slices, first.rows, first.columns) == (3, 20, 10)
    assert first.background == pytest.approx(frames[1][12:].mean())
    assert second.background is None, "all is tissue"
    assert first.file_size == (tmp_path / "volumes" / "P1_S1_lcc.b2nd").stat().st_size
    assert material.phantom
    assert from_prepared(dataset, None, pixels=False).seen[0].background is None


def test_slice_counts_go_by_the_classic_path(small_tree, tmp_path):
    path = "Breast-Cancer-Screening-DBT/P2/1.2.S1/1.3.rcc/1-1.dcm"
    counts = tmp_path / "counts.json"
    counts.write_text(json.dumps({path: 44, "elsewhere": 3}))
    material = from_tables(small_tree.root, None)
    found = by_view(with_slice_counts(material, counts, None, small_tree.root))
    assert {name: v.n_slices for name, v in found.items() if v.n_slices} == {"P2/rcc": 44}


@pytest.mark.parametrize("text", ["", "[1]", '{"a": "b"}', "{"])
def test_a_file_without_slice_counts_is_refused(small_tree, tmp_path, text):
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(DataError, match="holds no numbers of frames"):
        with_slice_counts(
            from_tables(small_tree.root, None), tmp_path / "counts.json", None, tmp_path
        )


def write_lists(folder, **parts):
    folder.mkdir(parents=True, exist_ok=True)
    for part, keys in parts.items():
        lines = ["PatientID,StudyUID,View", *(",".join(key) for key in keys)]
        (folder / f"{part}_list.csv").write_text("\n".join(lines) + "\n")
    return read_lists(folder)


def test_lists_give_the_parts_and_what_they_lack_is_counted(small_tree, tmp_path):
    lists = write_lists(
        tmp_path / "lists",
        train=[("P1", "S1", "lcc"), ("P1", "S1", "lmlo")],
        val=[("P2", "S1", "rcc")],
        test=[("P3", "S1", "rmlo"), ("P9", "S1", "rmlo")],
    )
    material = from_tables(small_tree.root, lists)
    assert material.parts == ("train", "train", "val", "test")
    assert [v.patient for v in material.seen] == ["P1", "P1", "P2", "P3"]
    assert material.notes == (
        "1 volumes have no label in any table and are left out",
        "2 volumes are in no list and left out",
        "1 listed volumes are not in the data",
    )
    raws = BcsDbt().volumes(small_tree.root)
    material = from_files(small_tree.root, raws, lists, pixels=False, jobs=1)
    assert material.parts == ("train", "train", "val", "test")


def test_lists_of_other_patients_are_refused(small_tree, tmp_path):
    lists = write_lists(tmp_path / "l", **{p: [(p, "S", "lcc")] for p in ("train", "val", "test")})
    raws = BcsDbt().volumes(small_tree.root)
    with pytest.raises(DataError, match="none of the 6 volumes is in the lists"):
        from_files(small_tree.root, raws, lists, pixels=False, jobs=1)


def test_a_path_that_is_no_folder_has_no_tables(small_tree):
    raws = BcsDbt().volumes(small_tree.root)
    material = from_files(Path("absent"), raws, None, pixels=False, jobs=1)
    assert {v.description for v in material.seen} == {None}
