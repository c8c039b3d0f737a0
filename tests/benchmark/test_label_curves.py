"""Label budgets in the stages: who is fine-tuned on, what is shared, and what a run of several shares leaves."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from dbtssl.benchmark import label_curves as budgets
from dbtssl.benchmark.inputs.open_dataset import Data
from dbtssl.benchmark.label_curves import benchmark_budgets, budget_name
from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.results.finished_run import open_run
from dbtssl.benchmark.results.run_record import LabelRecord, record_table, write_record
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.benchmark.stages.context import Context
from dbtssl.benchmark.stages.score_stages import predict_stage
from dbtssl.benchmark.stages.train_stages import finetune_stage, pretrain_stage
from dbtssl.config import validate
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.data.splits.patient_split import Split
from dbtssl.engine.store import Store
from dbtssl.errors import ConfigError, PluginError
from dbtssl.nn.classifier import PatchClassifier
from dbtssl.testing.toy_slices import toy_labelled

SPEC = {
    "name": "toy",
    "methods": ["random-init", "implants-no-labels"],
    "backbone": {"name": "cnn7", "args": {"base_channels": 2}},
    "pretrain": {"epochs": 1, "batch_size": 2, "warmup_epochs": 0.0},
    "predict": {"patch_size": 64, "patches": 1},
    "run": {"accelerator": "cpu"},
    "method": {"implants-no-labels": {"objective": {"crop_size": 64}}},
}
TRAIN, VAL, TEST = tuple(range(8)), (8, 9), (10, 11)  # every second patient has a lesion


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Contexts by share of the labels, the rows, and a store."""
    root = tmp_path_factory.mktemp("budgets")
    toy_labelled(root / "data", patients=12)
    data = Data(
        PreparedDataset.open(root / "data"), Split(TRAIN, VAL, TEST, "0", (4, 1, 1), (4, 1, 1))
    )

    def context(share, **fields):
        return Context(validate(Spec, SPEC | {"labels": share} | fields), data)

    return context, resolve(validate(Spec, SPEC)).rows, Store(root / "store")


class Recording:
    """Stands for a fine-tuner: keeps the patients that it is given, and learns nothing."""

    config = SimpleNamespace()
    classifier = PatchClassifier

    def build(self):
        return self

    def key(self):
        return {"name": "recording"}

    def fit(self, encoder, train, val, run):
        self.train, self.val = ([v.patient for v in x.slices.cohort] for x in (train, val))
        return PatchClassifier(encoder, seed=run.seed)


def test_fine_tuning_sees_the_budget_and_all_of_validation(toy):
    context, (row, _), store = toy
    tuner = Recording()
    row = replace(row, finetuner=tuner)
    for share, count in ((0.25, 1), (0.5, 2), (1.0, 4)):
        ctx = context(share)
        store.get(finetune_stage(ctx, row, 0, None))
        numbers = [int(p[-3:]) for p in tuner.train]
        assert [sum(n % 2 == k for n in numbers) for k in (0, 1)] == [count, count]
        assert numbers == list(ctx.budget(0).volumes)
        assert [int(p[-3:]) for p in tuner.val] == list(VAL)


def test_only_a_share_below_all_is_part_of_a_key(toy):
    context, (row, implants), _ = toy
    stages = {share: finetune_stage(context(share), row, 0, None) for share in (0.25, 0.5, 0.9, 1)}
    assert "labelled" not in stages[1].config
    assert stages[0.9].key == stages[1].key  # 0.9 of 4 patients are all of them
    assert len({stage.key for stage in stages.values()}) == 3
    assert stages[0.5].label == "random-init, seed 0, 50 % of the labels"
    assert stages[1].label == "random-init, seed 0"
    pretrained = {pretrain_stage(context(share), implants, 0).key for share in (0.25, 1)}
    assert len(pretrained) == 1


def test_a_method_that_reads_no_label_is_predicted_once(toy):
    context, (_, row), store = toy
    pretrained = store.get(pretrain_stage(context(1), row, 0))
    few, all_ = (
        store.get(finetune_stage(context(share), row, 0, pretrained)) for share in (0.25, 1)
    )
    assert few.folder != all_.folder
    assert few.content == all_.content
    one, other = (predict_stage(context(share), row, 0, few) for share in (0.25, 1))
    assert one.key == other.key


def test_an_aggregator_that_learns_sees_the_budget_alone(toy):
    context, (row, _), store = toy
    row = replace(row, finetuner=Recording())
    attention = {"aggregate": {"slice": "attention"}}
    few, all_ = context(0.25, **attention), context(1, **attention)
    tuned = store.get(finetune_stage(few, row, 0, None))
    stages = [predict_stage(ctx, row, 0, tuned) for ctx in (few, all_)]
    assert stages[0].key != stages[1].key
    assert "labelled" not in stages[1].config
    for ctx, stage in zip((few, all_), stages, strict=True):
        seen = pq.read_table(store.get(stage).folder / "train.parquet")["patient"].unique()
        assert {int(p[-3:]) for p in seen.to_pylist()} == set(ctx.budget(0).volumes)


def test_shares_name_their_folders():
    assert [budget_name(x) for x in (0.05, 0.1, 0.125, 1.0)] == [
        "labels-0.05", "labels-0.1", "labels-0.125", "labels-1",
    ]  # fmt: skip


def test_one_share_or_several_are_read():
    for given, expected in ((0.1, (0.1,)), (1, (1.0,)), ([0.05, 1], (0.05, 1.0))):
        assert validate(Spec, SPEC | {"labels": given}).labels == expected
    assert validate(Spec, SPEC).labels == (1.0,)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (0, "got 0, expected a share above 0 and at most 1"),
        ([0.1, 1.5], "expected a share above 0 and at most 1"),
        ([-0.1], "expected a share above 0 and at most 1"),
        (10, r"0\.1 is 10 %"),
        ([], "expected a share above 0 and at most 1"),
        ([0.1, 0.1], "different entries"),
        (True, "expected a list"),
        ("all", "expected a list"),
    ],
)
def test_other_shares_are_refused(shares, expected):
    with pytest.raises(ConfigError, match=f"labels: .*{expected}"):
        validate(Spec, SPEC | {"labels": shares})


def test_one_run_has_one_share():
    assert validate(Spec, SPEC | {"labels": 0.1}).share == 0.1
    with pytest.raises(ConfigError, match="2 shares, expected one for one run"):
        _ = validate(Spec, SPEC | {"labels": [0.1, 1]}).share


def labelled(run, share, failure=""):
    """The record of ``run`` as that of a share, with a row that failed."""
    counts = LabelRecord(share=share, abnormal=2, normal=5, train=(20, 50), validation=(3, 4))
    rows = [r.model_copy(update={"failure": failure} if failure else {}) for r in run.record.rows]
    return run.record.model_copy(update={"labels": counts, "rows": tuple(rows)})


def test_the_note_says_whose_labels_were_read(make_run):
    run = make_run("one")
    note = record_table(labelled(run, 0.1), run.store).notes[-1]
    for words in ("10 % of the labels", "2 of 20 abnormal and 5 of 50 normal", "3 abnormal and 4"):
        assert words in note
    whole = record_table(labelled(run, 1.0), run.store)
    assert whole.notes == record_table(run.record, run.store).notes


def test_a_row_that_failed_stops_no_other_share(make_run, monkeypatch, tmp_path):
    run = make_run("one")
    done = []

    def keep(spec, out, folder, **_):
        record = labelled(run, spec.share, failure="no memory" if spec.share < 1 else "")
        folder.mkdir(parents=True)
        write_record(record, folder)
        done.append(folder.name)
        return record, MemoryError("no memory")

    monkeypatch.setattr(budgets, "keep", keep)
    spec = validate(Spec, {"name": "toy", "methods": ["a"], "labels": [0.1, 1.0]})
    with pytest.raises(
        PluginError, match=r"(?s)2 of 4 rows .*labels-0\.1: moco-v2, seed 0: no mem"
    ):
        benchmark_budgets(spec, tmp_path)
    assert done == ["labels-0.1", "labels-1"]
    assert "10 %" in (tmp_path / "toy" / "labels.md").read_text()
    opened = open_run(tmp_path / "toy" / "labels-1")  # its store is one folder higher
    assert record_table(opened.record, opened.store).rows


def test_the_lesion_window_decides_the_labels_and_is_part_of_the_key(toy):
    context, _, _ = toy
    usual, narrow = context(1.0), context(1.0, lesion_window=[0, 0])
    boxes = [len(v.boxes) for v in usual.data.dataset.cohort]
    found = [int(a.sum()) for a in narrow.labelled(range(len(boxes))).abnormal]
    assert found == boxes  # in this cohort no volume has two boxes on one slice
    assert sum(found) < sum(int(a.sum()) for a in usual.labelled(range(len(boxes))).abnormal)
    assert usual.label_key() != narrow.label_key()
