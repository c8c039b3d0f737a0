from __future__ import annotations

import shutil

import pytest

from dbtssl.data.records import Label
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.sources.phantom_source import Phantom, is_phantom
from dbtssl.errors import DataError
from dbtssl.plugins.registry import registry

COLLECTION = "Breast-Cancer-Screening-DBT"


def keys(raws):
    return [raw.volume.id for raw in raws]


def test_volumes_are_listed_in_order(small_tree):
    raws = BcsDbt().volumes(small_tree.root)
    assert keys(raws) == [
        "P1_S1_lcc",
        "P1_S1_lmlo",
        "P2_S1_rcc",
        "P3_S1_rmlo",
        "P4_S1_lcc",
        "P5_S1_rcc",
    ]
    assert all(raw.path.is_file() and raw.volume.view in str(raw.path) for raw in raws)
    first, normal = raws[0].volume, raws[3].volume
    assert (first.label, first.n_slices, first.boxes[0].z) == (Label.CANCER, 6, 3)
    assert (normal.label, normal.n_slices, normal.boxes) == (Label.NORMAL, 0, ())


def test_the_collection_itself_may_be_the_root(small_tree):
    expected = BcsDbt().volumes(small_tree.root)
    assert BcsDbt().volumes(small_tree.root / COLLECTION) == expected


def test_several_manifest_folders(small_tree):
    """What the NBIA Data Retriever leaves after two downloads."""
    expected = keys(BcsDbt().volumes(small_tree.root))
    for i, patients in enumerate((("P1", "P2"), ("P3", "P4", "P5"))):
        for patient in patients:
            place = small_tree.root / f"manifest-16{i}" / COLLECTION / patient
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(small_tree.root / COLLECTION / patient, place)
    (small_tree.root / COLLECTION).rmdir()
    assert keys(BcsDbt().volumes(small_tree.root)) == expected


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        BcsDbt().volumes(tmp_path / "absent")
    with pytest.raises(DataError, match="no such folder"):
        Phantom().volumes(tmp_path / "absent")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        BcsDbt().volumes(tmp_path)


def test_further_roots_must_be_there(small_tree, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        BcsDbt(BcsDbt.Config(roots=(tmp_path / "absent",))).volumes(small_tree.root)
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="bare is empty"):
        BcsDbt(BcsDbt.Config(roots=(tmp_path / "bare",))).volumes(small_tree.root)


def test_options_come_from_text(small_tree, tmp_path):
    """As `--set` and a specification bring them."""
    (small_tree.root / COLLECTION).rename(tmp_path / "disk2")
    options = {"roots": [str(tmp_path / "disk2")]}
    source = registry().build("source", "bcs-dbt", options)
    assert len(source.volumes(small_tree.root)) == 6


def test_tables_without_images_are_refused(small_tree):
    shutil.rmtree(small_tree.root / COLLECTION)
    with pytest.raises(DataError, match="6 of 6 listed volumes have no file"):
        BcsDbt().volumes(small_tree.root)
    with pytest.raises(DataError, match="6 of 6 listed volumes have no file"):
        BcsDbt(BcsDbt.Config(partial=True)).volumes(small_tree.root)


def test_listed_volumes_without_a_file_are_counted_and_named(small_tree):
    for view in ("lcc", "lmlo"):
        shutil.rmtree(small_tree.root / COLLECTION / "P1" / "1.2.S1" / f"1.3.{view}")
    with pytest.raises(
        DataError, match="2 of 6 listed volumes have no file: P1/S1/lcc, P1/S1/lmlo\n"
    ) as error:
        BcsDbt().volumes(small_tree.root)
    assert f"dbtssl data check {small_tree.root}" in error.value.hint
    assert keys(BcsDbt(BcsDbt.Config(partial=True)).volumes(small_tree.root)) == [
        *("P2_S1_rcc", "P3_S1_rmlo", "P4_S1_lcc", "P5_S1_rcc")
    ]
    shutil.rmtree(small_tree.root / COLLECTION)
    (small_tree.root / COLLECTION).mkdir()
    with pytest.raises(DataError, match=r"6 of 6 .* P1/S1/lcc, P1/S1/lmlo, P2/S1/rcc, \.\.\.\n"):
        BcsDbt().volumes(small_tree.root)


def test_a_volume_without_a_row_of_paths_has_no_file(small_tree):
    small_tree.paths.pop()
    small_tree.tables()
    with pytest.raises(DataError, match="1 of 6 listed volumes have no file: P5/S1/rcc"):
        BcsDbt().volumes(small_tree.root)


def test_a_phantom_needs_its_marker(small_tree):
    assert not is_phantom(small_tree.root)
    with pytest.raises(DataError, match="is not a phantom") as error:
        Phantom().volumes(small_tree.root)
    assert "dbtssl phantom" in error.value.hint
    (small_tree.root / "phantom.json").write_text("{}")
    assert is_phantom(small_tree.root)
    assert is_phantom(small_tree.root / COLLECTION)
    assert Phantom().volumes(small_tree.root) == BcsDbt().volumes(small_tree.root)


def test_mini_tree(real):
    raws = BcsDbt().volumes(real / "mini_tree")
    assert len(raws) == 14
    assert {raw.volume.patient for raw in raws if raw.volume.label.abnormal} == {
        *("DBT-P00013", "DBT-P00024", "DBT-P00107", "DBT-P00194")
    }
