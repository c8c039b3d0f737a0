"""The tasks of frozen features as stages: where densities come from, what decides a key, what is found."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dbtssl.benchmark.inputs.breast_density import NONE, density_state, open_density
from dbtssl.benchmark.inputs.open_dataset import Data
from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.results.run_record import record_table, request_digest
from dbtssl.benchmark.run import plan_benchmark
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.benchmark.stages import probe_stages as tasks
from dbtssl.benchmark.stages.context import Context
from dbtssl.config import validate
from dbtssl.data.deidentify import pseudonym
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Cohort, Label, Volume
from dbtssl.data.splits.patient_split import Split
from dbtssl.engine.store import Output, Stage, Store
from dbtssl.errors import DataError
from dbtssl.evaluation.probes.frozen_probes import DENSITY, RECALL, FrozenTasks
from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output.truth import FILE, read_densities, truth

HEAD = "PatientID,StudyUID,Breast,density\n"
TABLES = {
    "name": "toy",
    "methods": ["random-init"],
    "backbone": {"args": {"base_channels": 2}},
    "predict": {"patch_size": 64},
    "tasks": {},
    "run": {"accelerator": "cpu"},
}


def spec(**change):
    return validate(Spec, TABLES | change)


def data(volumes, ids="published", phantom=False):
    dataset = SimpleNamespace(cohort=Cohort(volumes), ids=ids, phantom=phantom, digest="d")
    return SimpleNamespace(dataset=dataset)


def volume(patient, view="lcc", study="S"):
    return Volume(patient, study, view, 3, 64, 64, Label.NORMAL)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """A phantom's folder without its images, and its volumes."""
    folder = tmp_path_factory.mktemp("phantom")
    config = PhantomConfig(patients=4, seed=0, rows=64, spacing=6)
    planned = plan(config)
    (folder / FILE).write_text(truth(config, planned))
    return folder, planned


def test_a_phantom_brings_its_own_densities(phantom):
    folder, planned = phantom
    volumes = [volume(v.patient, v.view, v.study) for v in planned]
    asked = spec(data={"source": "phantom", "root": str(folder)})
    found = open_density(asked, data(volumes, "phantom", phantom=True))
    assert found.values == pytest.approx([v.breast.density for v in planned], abs=1e-4)
    assert found.missing == ""
    assert len(density_state(asked)) == 1


@pytest.mark.parametrize("text", ["{ not JSON", "[]", '{"breasts": [["x"]]}', '{"breasts": 3}'])
def test_a_broken_truth_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match="cannot be read as what the phantom put where"):
        read_densities(tmp_path / FILE)


def test_a_table_is_read_by_the_sources_ids(tmp_path):
    path = tmp_path / "density.csv"
    path.write_text(HEAD + "P1,S,l,0.5\nP9,S,l,0.1\n")
    volumes = [volume("P1"), volume("P1", "rcc"), volume("P2")]
    found = open_density(spec(tasks={"density": str(path)}), data(volumes))
    assert found.values[0] == 0.5
    assert np.isnan(found.values[1:]).all()


def test_the_ids_of_a_private_source_are_hashed_as_in_its_data_set(tmp_path, monkeypatch):
    key = b"k" * 32
    monkeypatch.setattr("dbtssl.data.deidentify.load_key", lambda: key)
    path = tmp_path / "density.csv"
    path.write_text(HEAD + "Jane,7,l,2\n")
    hidden = volume(pseudonym(key, "patient", "Jane"), study=pseudonym(key, "study", "Jane\x007"))
    found = open_density(spec(tasks={"density": str(path)}), data([hidden], "hashed"))
    assert found.values.tolist() == [2]


def test_without_a_table_there_is_no_density(tmp_path):
    asked = spec(data={"source": "bcs-dbt", "root": str(tmp_path)})
    found = open_density(asked, data([volume("P1")]))
    assert np.isnan(found.values).all()
    assert found.missing == NONE
    assert density_state(asked) == ()


def test_without_tasks_nothing_is_read(tmp_path):
    assert open_density(spec(tasks=None), data([volume("P1")])) is None
    assert density_state(spec(tasks=None, data={"source": "phantom", "root": str(tmp_path)})) == ()


def test_a_table_of_other_patients_is_refused(tmp_path):
    path = tmp_path / "density.csv"
    path.write_text(HEAD + "P9,S,l,0.1\n")
    with pytest.raises(DataError, match="none of its 1 breasts is one of the data set's 1 volumes"):
        open_density(spec(tasks={"density": str(path)}), data([volume("P1")]))


def test_a_table_that_cannot_be_read_is_refused_before_any_work(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*none\.csv"):
        resolve(spec(tasks={"density": str(tmp_path / "none.csv")}))


def test_another_table_is_another_request(tmp_path):
    path = tmp_path / "density.csv"
    path.write_text(HEAD + "P1,S,l,0.5\n")
    asked = spec(data={"source": "bcs-dbt"}, tasks={"density": str(path)})
    before = request_digest(asked)
    path.write_text(HEAD + "P1,S,l,0.6\n")
    assert request_digest(asked) != before


PLANNED = ["pretrain", "features", "tasks", "finetune", "predict", "score"]


def test_the_plan_has_them_where_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    for asked, expected in ((spec(), PLANNED[1:]), (spec(tasks=None), PLANNED[3:])):
        lines = [line.stage for line in plan_benchmark(asked, tmp_path / "runs")]
        assert lines == ["phantom", "prepare", *expected]


class Brightness(torch.nn.Module):
    """Features that say how bright a patch is, and nothing else."""

    def forward(self, x):
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([mean, torch.sin(20 * mean), torch.cos(20 * mean)], dim=1)


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """19 patients whose breasts are of one grey level each, which is 1000 times their density; a store beside them."""
    root = tmp_path_factory.mktemp("bright")
    rng = np.random.default_rng(0)
    volumes, arrays, rows = [], [], []
    for p in range(19):
        for side in "lr":
            density = round(rng.uniform(0.1, 0.9), 3)
            rows.append(f"P{p:02d},S,{side},{density}\n")
            for view in ("cc", "mlo"):
                volumes.append(volume(f"P{p:02d}", side + view))
                arrays.append(np.full((3, 64, 64), round(1000 * density), dtype=np.uint16))
    dataset = write_dataset(root / "data", volumes, arrays, source="phantom")
    (root / "density.csv").write_text(HEAD + "".join(rows))
    split = Split(
        tuple(range(24)), tuple(range(24, 36)), tuple(range(36, 76)), "s", (1, 1, 1), (1, 1, 1)
    )
    return root, Data(dataset, split)


def context(bright, **asked):
    root, found = bright
    chosen = spec(tasks={"density": str(root / "density.csv")} | asked)
    return Context(chosen, found, open_density(chosen, found))


def stages(ctx, store, monkeypatch, encoder):
    """The result of both stages of the first row, whose encoder is ``encoder``."""
    monkeypatch.setattr(tasks, "start_encoder", lambda *_: encoder)
    row = resolve(ctx.spec).rows[0]
    output = store.get(tasks.features_stage(ctx, row, 0, None))
    found = store.get(tasks.tasks_stage(ctx, row, 0, output))
    return FrozenTasks.from_json((found.folder / tasks.TASKS_FILE).read_text())


def test_an_encoder_that_is_the_density_knows_density_and_breast(bright, tmp_path, monkeypatch):
    ctx = context(bright)
    found = stages(ctx, Store(tmp_path / "store"), monkeypatch, Brightness())
    assert found.values[DENSITY].value > 0.999
    assert found.values[RECALL].value == 1
    assert found.n_known == (24, 12, 40)
    assert (found.queries, found.candidates, found.n_patients) == (40, (20, 20), 10)


def test_an_encoder_that_knows_nothing_says_so(bright, tmp_path, monkeypatch):
    class Blind(torch.nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 3)

    found = stages(context(bright), Store(tmp_path / "store"), monkeypatch, Blind())
    assert found.values[DENSITY].reason == "the features say the same of every test volume"
    assert found.values[RECALL].value == pytest.approx(10 / 20)  # ties: as by chance
    assert found.chance == pytest.approx(10 / 20)


def test_densities_of_test_patients_do_not_enter_what_is_said_of_others(
    bright, tmp_path, monkeypatch
):
    """Test densities turned upside down turn rho upside down: what the regression says has not moved."""
    ctx, store = context(bright), Store(tmp_path / "store")
    torch.manual_seed(0)
    noisy = torch.nn.Sequential(
        torch.nn.AvgPool2d(16), torch.nn.Flatten(), torch.nn.Linear(16, 4), torch.nn.ReLU()
    )
    one = stages(ctx, store, monkeypatch, noisy)
    values = ctx.density.values.copy()
    test = list(ctx.data.split.test)
    values[test] = 1 - values[test]
    other = stages(
        replace(ctx, density=replace(ctx.density, values=values)), store, monkeypatch, noisy
    )
    assert abs(one.values[DENSITY].value) > 0.2
    assert other.values[DENSITY].value == pytest.approx(-one.values[DENSITY].value)
    assert other.penalty == one.penalty


def test_what_decides_the_keys(bright):
    ctx = context(bright)
    row = resolve(ctx.spec).rows[0]
    features = tasks.features_stage(ctx, row, 0, None)

    def again(changed):
        changed_row = resolve(changed.spec).rows[0]
        return tasks.features_stage(changed, changed_row, 0, None).key

    assert again(replace(ctx, spec=spec(tasks={}, finetune={"epochs": 7}))) == features.key
    assert again(context(bright, slices=2)) != features.key
    assert again(context(bright, patches=1)) != features.key
    assert tasks.features_stage(ctx, row, 1, None).key != features.key
    pretrained = Output(bright[0], "content", 0.0, reused=True)
    assert tasks.features_stage(ctx, row, 0, pretrained).key != features.key

    output = Output(bright[0], "f", 0.0, reused=True)
    key = tasks.tasks_stage(ctx, row, 0, output).key
    less = ctx.density.values.copy()
    less[3] = np.nan
    other = replace(ctx, density=replace(ctx.density, values=less))
    assert tasks.tasks_stage(other, row, 0, output).key != key
    assert tasks.tasks_stage(ctx, row, 0, replace(output, content="g")).key != key


def test_the_table_of_a_run_has_them(bright, make_run, tmp_path, monkeypatch):
    """From the record and the store alone."""
    run = make_run()
    found = stages(context(bright), Store(tmp_path / "apart"), monkeypatch, Brightness())

    def write(folder):
        (folder / tasks.TASKS_FILE).write_text(found.to_json())

    stage = Stage(tasks.TASKS, "of a test", 1, {}, {}, (tasks.TASKS_FILE,), write)
    output = run.store.get(stage)
    rows = tuple(
        row.model_copy(update={"stages": row.stages | {tasks.TASKS: stage.key}})
        for row in run.record.rows
    )
    record = run.record.model_copy(update={"rows": rows})
    lines = [row for row in record_table(record, run.store).rows if row.frozen]
    assert [line.method for line in lines] == ["random-init", "moco-v2"]
    assert lines[0].cells["recall@10"].value.value == 1
    for file in output.folder.iterdir():
        file.unlink()
    output.folder.rmdir()
    with pytest.raises(DataError, match="the tasks of random-init, seed 0, are not in the store"):
        record_table(record, run.store)
