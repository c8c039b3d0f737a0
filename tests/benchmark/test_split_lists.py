"""A benchmark on a published split: lists take the place of ratios and seed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dbtssl.benchmark.inputs.open_dataset import (
    Data,
    listing,
    make_split,
    published_subset,
    source_state,
)
from dbtssl.benchmark.results.run_record import Record, record_table
from dbtssl.benchmark.spec.spec_files import load_spec
from dbtssl.benchmark.stages.context import Context
from dbtssl.benchmark.stages.score_stages import _subsets
from dbtssl.data.deidentify import privacy_of
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, Volume
from dbtssl.data.sources.slice_folder import SliceFolder
from dbtssl.engine.store import Store
from dbtssl.errors import ConfigError, DataError
from dbtssl.evaluation.predictions.evaluation_sets import SUB5, SUBSET, TEST_LIST
from dbtssl.interfaces import RawVolume

SPEC = 'name = "toy"\nmethods = ["random-init"]\n[data]\nroot = {root}\n[split]\n{split}\n'


@pytest.fixture
def dataset(tmp_path):
    """Six abnormal patients and one Actionable, a volume each."""
    labels = [Label.CANCER] * 6 + [Label.ACTIONABLE]
    volumes = [
        Volume(f"P{i}", "S1", "lcc", 0, 0, 0, label) for i, label in enumerate(labels, start=1)
    ]
    frames = np.full((1, 4, 4), 9, dtype=np.uint16)
    return write_dataset(tmp_path / "data", volumes, [frames] * len(volumes))


@pytest.fixture
def lists(tmp_path):
    def write(**patients):
        folder = tmp_path / "lists"
        folder.mkdir(exist_ok=True)
        for part, some in patients.items():
            rows = ["PatientID,StudyUID,View", *(f"{p},S1,lcc" for p in some.split())]
            (folder / f"{part}_list.csv").write_text("\n".join(rows) + "\n")
        return folder

    return write


@pytest.fixture
def spec(tmp_path):
    def load(split):
        path = tmp_path / "toy.toml"
        path.write_text(SPEC.format(root=json.dumps(str(tmp_path / "data")), split=split))
        return load_spec(path)

    return load


def test_the_lists_decide(dataset, lists, spec):
    folder = lists(train="P1 P2 P7", val="P5", test="P3 P4 P9")
    split = make_split(spec(f"lists = {json.dumps(str(folder))}"), dataset)
    assert (split.train, split.val, split.test) == ((0, 1), (4,), (2, 3)), "Actionable by protocol"
    assert split.notes == (
        "1 volumes are in no list and left out: P6_S1_lcc",
        "1 listed volumes are not in the data: P9/S1/lcc",
    )


def test_the_notes_stand_below_the_table(dataset, tmp_path):
    fields = {"request": "", "title": "t", "phantom": False, "data": "", "split": "abcdef0123"}
    record = Record(**fields, notes=("3 volumes are in no list",), spec={}, stages=(), rows=())
    table = record_table(record, Store(tmp_path / "store"))
    assert table.notes[-1] == "Split abcdef01: 3 volumes are in no list."


def test_lists_go_by_the_sources_own_ids_where_the_data_set_has_pseudonyms(
    tmp_path, lists, spec, monkeypatch
):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "config" / name)
    labels = {"P1": Label.CANCER, "P2": Label.BENIGN, "P3": Label.CANCER}
    raws = [
        RawVolume(Volume(p, "S1", "lcc", 0, 0, 0, label), tmp_path) for p, label in labels.items()
    ]
    volumes = [raw.volume for raw in privacy_of(SliceFolder()).apply(raws)]
    arrays = [np.full((1, 4, 4), 9, dtype=np.uint16)] * 3
    dataset = write_dataset(tmp_path / "data", volumes, arrays, source="slices", phantom=False)
    folder = lists(train="P1", val="P2", test="P3")
    split = make_split(spec(f"lists = {json.dumps(str(folder))}"), dataset)
    found = [dataset.cohort[part[0]].label for part in (split.train, split.val, split.test)]
    assert found == [Label.CANCER, Label.BENIGN, Label.CANCER]
    assert split.notes == ()


def test_changed_lists_are_another_request(dataset, lists, spec):
    asked = spec(f"lists = {json.dumps(str(lists(train='P1 P2', val='P5', test='P3')))}")
    before = source_state(asked)
    assert source_state(asked) == before
    lists(test="P3 P4")
    assert source_state(asked) != before
    assert source_state(spec("seed = 1")) == source_state(spec("seed = 2")) != before


def test_the_published_subset_is_scored_as_published_alone(dataset, lists, spec):
    """Row numbers of SIFT-DBT's own test list; patients 3, 4 and 6 are tested."""
    folder = lists(**{"train": "P1 P2", "val": "P5", "BCS-DBT_test": "P3 P4 P6"})
    (folder / "BCS-DBT_test_list.csv").rename(folder / TEST_LIST)
    keys = f"lists = {json.dumps(str(folder))}"
    published, strict = (
        spec(keys).model_copy(update={"protocol": name}) for name in ("as-published", "strict")
    )
    before = source_state(published), source_state(strict)
    assert published_subset(published) is None
    (folder / SUBSET).write_text("[[0, 2], [3, 3]]")
    assert published_subset(published) == {"P3_S1_lcc", "P6_S1_lcc"}
    assert published_subset(strict) is None
    assert (source_state(published) != before[0], source_state(strict)) == (True, before[1])
    ctx = Context(published, Data(dataset, make_split(published, dataset)))
    assert _subsets(ctx) == {SUB5: {"P3_S1_lcc", "P6_S1_lcc"}}
    fewer = Context(published, Data(dataset, replace(ctx.data.split, test=(2, 3))))
    assert _subsets(fewer) == {}, "P6 is not in the data"


@pytest.mark.parametrize("key", ["seed = 3", "ratios = [0.6, 0.2, 0.2]"])
def test_lists_and_a_seed_are_refused(dataset, lists, spec, key):
    with pytest.raises(ConfigError, match="split: lists alone, or ratios and seed"):
        spec(f'lists = "lists"\n{key}')


def test_a_listed_part_without_an_abnormal_patient_is_refused(dataset, lists, spec):
    folder = lists(train="P1 P2", val="P7", test="P3 P4")
    with pytest.raises(DataError, match="no abnormal patient in the val split"):
        make_split(spec(f"lists = {json.dumps(str(folder))}"), dataset)


def test_lists_that_are_not_there_are_refused(dataset, spec):
    with pytest.raises(DataError, match="no such folder: absent"):
        make_split(spec('lists = "absent"'), dataset)


@pytest.mark.parametrize("public", [True, False])
def test_a_missing_file_is_named_where_its_source_is_public(tmp_path, public):
    raw = RawVolume(Volume("Jane", "S", "lcc", 0, 0, 0, Label.NORMAL), tmp_path / "jane.dcm")
    with pytest.raises(DataError, match="cannot be read: No such file") as error:
        listing(tmp_path, [raw], public)
    assert ("Jane_S_lcc" in error.value.message) is public
    assert ("jane.dcm" in error.value.message) is public
