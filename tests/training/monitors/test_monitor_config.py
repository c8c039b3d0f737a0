from __future__ import annotations

import hashlib
import io
import json
import random
import re
import sys
from copy import deepcopy
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.config import Config
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Box, Label, SliceRef, Volume
from dbtssl.errors import ConfigError
from dbtssl.evaluation.probes.representation import cross_view_recall, knn_auc, probe_auc
from dbtssl.interfaces import Crop, Step, ViewSpec
from dbtssl.nn.collapse import rankme
from dbtssl.patches.monitor_patches import labelled_patches, spread_patches
from dbtssl.patches.patch_rule import PatchRule
from dbtssl.training.checkpoint import load_checkpoint, save_checkpoint
from dbtssl.training.monitors.monitor_config import EVENTS, MONITORS, PLOT, Monitor, MonitorConfig
from dbtssl.training.monitors.monitor_plot import draw
from dbtssl.training.monitors.monitor_runner import NAMES, effective_rank, features, summary
from dbtssl.training.pretraining.loop import CHECKPOINT, LOG
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain
from dbtssl.training.training_log import read_lines

RULE = PatchRule(16)
SMALL = {"every": 2, "slices": 2, "patches": 2, "neighbours": 5, "label_budget": 2}


def cohort(root, prefix, patients, sick):
    """Two breasts of two views each; a breast has its grey level, a lesion is bright."""
    rng = np.random.default_rng(7)
    volumes, arrays = [], []
    for p in range(patients):
        for side in "lr":
            for view in ("cc", "mlo"):
                lesion = p < sick and side == "l"
                boxes = (Box(1, 10.0, 14.0, 8.0, 8.0, Label.CANCER),) if lesion else ()
                label = Label.CANCER if lesion else Label.NORMAL
                volumes.append(Volume(f"{prefix}{p}", "S", side + view, 3, 40, 32, label, boxes))
                grey = 100 + 60 * p + 25 * (side == "r") + rng.normal(0, 3, size=(3, 40, 32))
                if lesion:
                    grey[1, 14:22, 10:18] += 400
                arrays.append(grey.clip(0).astype(np.uint16))
    data = write_dataset(root, volumes, arrays)
    return data.slices(range(len(volumes)))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return cohort(tmp_path_factory.mktemp("train"), "T", 3, 1)


@pytest.fixture(scope="module")
def validation(tmp_path_factory):
    return cohort(tmp_path_factory.mktemp("val"), "V", 6, 3)


class OtherSlice:
    Config = Config

    def positive(self, anchor, cohort, rng):
        return SliceRef(anchor.volume, int(rng.integers(cohort[anchor.volume].n_slices)))


class Toy(nn.Module):
    """With running statistics, dropout and momentum: all that looking at it could move."""

    Config = Config

    def __init__(self, fail_at=None, seed=0):
        super().__init__()
        self.views = (ViewSpec("anchor", Crop(16)), ViewSpec("positive", Crop(16)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(
                nn.Conv2d(1, 6, 5, stride=3),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
            )
        self.fail_at, self.calls = fail_at, 0

    def forward(self, batch):
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        assert self.training
        assert self.net.training
        a, b = (F.normalize(self.net(x), dim=1) for x in batch.views)
        return Step(F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a))))

    def after_step(self, progress):
        pass

    def encoder(self):
        return self.net


def train(training, folder, monitor, objective=None, **changes):
    objective = objective or Toy()
    schedule = PretrainConfig(**{"epochs": 5, "batch_size": 6, "lr": 0.05} | changes)
    pretrain(
        objective,
        OtherSlice(),
        training,
        schedule,
        seed=1,
        folder=folder,
        accelerator="cpu",
        monitor=monitor,
    )
    return objective


def watching(validation, **changes):
    return Monitor(validation, RULE, MonitorConfig(**SMALL | changes), "toy, seed 1")


def sha(folder):
    """Of everything in the checkpoint but the lengths of the logs, and of the log but its clock."""
    out = io.BytesIO()
    state = load_checkpoint(folder / CHECKPOINT)
    torch.save({k: v for k, v in state.items() if not k.endswith("_bytes")}, out)
    log = [{**line, "images_per_s": 0} for line in read_lines(folder / LOG)]
    return hashlib.sha256(out.getvalue() + json.dumps(log).encode()).hexdigest()


def timeless(folder):
    return [{**line, "seconds": 0} for line in read_lines(folder / MONITORS)]


@pytest.fixture(scope="module")
def straight(training, validation, tmp_path_factory):
    """The folder of a run that never stopped, and its objective."""
    folder = tmp_path_factory.mktemp("straight")
    return folder, train(training, folder, watching(validation))


@pytest.fixture
def undrawn(monkeypatch):
    """Half of a toy run's time is its plot."""
    monkeypatch.setattr("dbtssl.training.monitors.monitor_runner.plot", lambda *args: None)


def global_random_states():
    python = random.getstate()
    return python, torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002


def test_the_training_is_the_same_bit_for_bit_with_and_without(
    training, validation, straight, tmp_path
):
    train(training, tmp_path / "without", None)
    before = global_random_states()
    train(training, tmp_path / "with", watching(validation, every=1))
    assert global_random_states() == before
    assert sha(tmp_path / "with") == sha(tmp_path / "without") == sha(straight[0])
    assert len(read_lines(tmp_path / "with" / MONITORS)) == 6
    assert not (tmp_path / "without" / MONITORS).exists()


def test_it_looks_before_the_first_step_every_so_often_and_after_the_last(straight):
    lines = read_lines(straight[0] / MONITORS)
    assert [(x["epoch"], x["step"]) for x in lines] == [(0, 0), (2, 4), (4, 8), (5, 10)]
    for line in lines:
        assert set(NAMES) <= set(line)
        assert all(0 <= line[name] <= 1 for name in NAMES if name != "rankme")
        assert 1 <= line["rankme"] <= line["rankme_most"] == 24
        assert (line["patients_with_lesion"], line["patients_without"]) == (3, 3)
        assert (line["volumes"], line["patches"]) == (24, 24 * 4 + 6 * 2 + 18 * 2)
        assert line["missing"] == {}
        assert line["chance"]["recall@1"] == pytest.approx(1 / 12, abs=1e-6)
        assert line["chance"]["same_patient"] == pytest.approx(2 / 22, abs=1e-6)


def test_looking_draws_no_global_random_number(validation):
    patches = spread_patches(validation, RULE, [0, 5], 2, 2)
    encoder = Toy().encoder()
    before = global_random_states()
    assert features(encoder, patches, "cpu").shape == (8, 24)
    assert global_random_states() == before


def test_none_are_wanted(training, validation, tmp_path):
    train(training, tmp_path, watching(validation, every=0))
    assert not (tmp_path / MONITORS).exists()
    assert not (tmp_path / PLOT).exists()


def test_the_numbers_are_those_of_the_encoder_in_evaluation_mode(validation, straight):
    """The last line, worked out patch by patch from the weights that the training ended with."""
    encoder = deepcopy(straight[1].encoder()).eval()

    def one_by_one(patches):
        with torch.no_grad():
            return np.stack([encoder(torch.from_numpy(p)[None])[0].numpy() for p in patches])

    spread = spread_patches(validation, RULE, range(24), 2, 2)
    z = one_by_one(spread)
    mean = np.stack([z[spread.volumes == i].mean(axis=0) for i in range(24)])
    ids = np.array([f"{v.patient}{v.side}" for v in validation.cohort])
    _, breasts = np.unique(ids, return_inverse=True)
    mlo = np.array([v.view.endswith("mlo") for v in validation.cohort])
    labelled, abnormal = labelled_patches(validation, RULE, range(24), 2)
    shown = one_by_one(labelled)
    owner = np.array([int(validation.cohort[i].patient[1:]) for i in labelled.volumes])
    last = read_lines(straight[0] / MONITORS)[-1]
    assert last["recall@1"] == pytest.approx(cross_view_recall(mean, breasts, mlo, 1).value)
    assert last["recall@10"] == pytest.approx(cross_view_recall(mean, breasts, mlo, 10).value)
    assert last["knn_auc"] == pytest.approx(knn_auc(shown, abnormal, owner, 5).value, abs=1e-5)
    assert last["probe_auc"] == pytest.approx(probe_auc(shown, abnormal, owner, 2).value, abs=1e-5)
    assert last["rankme"] == pytest.approx(float(rankme(torch.from_numpy(z))), rel=1e-3)


class GreyLevel(Toy):
    """An encoder that knows the grey level and how bright the brightest pixels are, and never learns."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            middle = x.flatten(1).median(dim=1).values * 3
            bright = x.flatten(1).amax(dim=1) > 0.35 + x.flatten(1).median(dim=1).values
            return torch.stack([middle.cos(), middle.sin(), 3.0 * bright], dim=1)

    def __init__(self):
        super().__init__()
        self.net = self.Net()

    def forward(self, batch):
        return Step(self.net.unused.sum())


@pytest.mark.usefixtures("undrawn")
def test_an_encoder_that_knows_has_full_marks_and_one_line_says_so(
    training, validation, tmp_path, capsys
):
    """Grey levels are ordered by patient, then breast; only a lesion is bright."""
    train(training, tmp_path, watching(validation), GreyLevel(), epochs=1)
    shown = " ".join(capsys.readouterr().err.split())
    assert "toy, seed 1: epoch 1: kNN AUC 1.00 (chance 0.50), probe AUC 1.00" in shown
    assert shown.count("toy, seed 1:") == 1
    last = read_lines(tmp_path / MONITORS)[-1]
    assert last["knn_auc"] == last["probe_auc"] == 1.0
    assert last["recall@1"] == last["recall@10"] == 1.0
    assert last["same_patient"] == 1.0


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("fail_at", "checkpoint_every"), [(2, 0), (6, 0), (9, 0), (10, 1e6)])
def test_going_on_gives_the_log_of_a_run_that_never_stopped(
    training, validation, straight, tmp_path, fail_at, checkpoint_every
):
    """Of 2 steps an epoch, step 9 begins after a measurement; in the last case no checkpoint was written."""
    monitor = watching(validation)
    with pytest.raises(KeyboardInterrupt):
        train(training, tmp_path, monitor, Toy(fail_at), checkpoint_every=checkpoint_every)
    resumed = train(training, tmp_path, monitor, Toy(), checkpoint_every=checkpoint_every)
    assert resumed.calls == (10 if checkpoint_every else 11 - fail_at)
    assert timeless(tmp_path) == timeless(straight[0])
    assert sha(tmp_path) == sha(straight[0])


@pytest.mark.usefixtures("undrawn")
def test_a_measurement_whose_checkpoint_was_not_written_is_made_again(
    training, validation, straight, tmp_path, monkeypatch
):
    def killed(path, state):
        if state["step"] == 8:
            raise KeyboardInterrupt
        save_checkpoint(path, state)

    monitor = watching(validation)
    monkeypatch.setattr("dbtssl.training.pretraining.loop.save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        train(training, tmp_path, monitor, checkpoint_every=0)
    assert [x["step"] for x in timeless(tmp_path)] == [0, 4, 8]
    monkeypatch.undo()
    assert train(training, tmp_path, monitor, checkpoint_every=0).calls == 3
    assert timeless(tmp_path) == timeless(straight[0])
    assert sha(tmp_path) == sha(straight[0])


@pytest.mark.usefixtures("undrawn")
def test_a_run_begun_without_monitors_goes_on_with_them_and_the_other_way_round(
    training, validation, straight, tmp_path
):
    for name, first, then in (
        ("on", None, watching(validation)),
        ("off", watching(validation), None),
    ):
        with pytest.raises(KeyboardInterrupt):
            train(training, tmp_path / name, first, Toy(6), checkpoint_every=0)
        train(training, tmp_path / name, then, checkpoint_every=0)
        assert sha(tmp_path / name) == sha(straight[0])
    assert [x["epoch"] for x in timeless(tmp_path / "on")] == [4, 5]
    assert [x["epoch"] for x in timeless(tmp_path / "off")] == [0, 2]


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_measured_is_a_reason_and_never_nan(training, tmp_path):
    healthy = cohort(tmp_path / "val", "V", 2, 0)
    train(training, tmp_path / "run", watching(healthy), epochs=1)
    text = (tmp_path / "run" / MONITORS).read_text()
    assert "NaN" not in text
    last = read_lines(tmp_path / "run" / MONITORS)[-1]
    why = "patients with a lesion: 0, without: 0; 2 of each are needed"
    of_ten = "volumes of a view: 4; the 10 nearest are all of them"
    assert last["missing"] == {"knn_auc": why, "probe_auc": why, "recall@10": of_ten}
    assert (
        last["knn_auc"] is last["probe_auc"] is last["recall@10"] is last["auc_chance_sd"] is None
    )
    assert "kNN AUC none" in summary(last)
    figure = draw(read_lines(tmp_path / "run" / LOG), [last], "toy")
    told = " ".join(text.get_text() for text in figure.axes[2].texts).replace("\n", " ")
    assert why in told
    labels = [text.get_text() for text in figure.axes[3].get_legend().get_texts()]
    assert labels == ["among 10 nearest: no value", "nearest"]


def test_rankme_of_what_has_none_is_a_reason():
    assert effective_rank(np.zeros((4, 3), np.float32)).reason == "all features are 0"
    assert "finite" in effective_rank(np.full((4, 3), np.nan, np.float32)).reason
    many = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32)
    assert effective_rank(many).value == pytest.approx(4, abs=0.05)


def test_patients_that_are_trained_on_are_refused(training, tmp_path):
    with pytest.raises(ConfigError, match="3 patients of the monitors are also trained on"):
        train(training, tmp_path, watching(training))
    assert not any(tmp_path.iterdir())


def test_the_plot_shows_every_number_against_the_epochs(straight):
    from matplotlib.image import imread

    folder = straight[0]
    pixels = imread(folder / PLOT)[..., :3]
    assert pixels.shape[1] > 1000
    for panel in np.array_split(pixels[50:], 2, axis=0):
        for part in np.array_split(panel, 3, axis=1):
            assert part.std() > 0.03
    log, measured = read_lines(folder / LOG), read_lines(folder / MONITORS)
    figure = draw(log, measured, "toy")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:2] == ["Loss", "Learning rate"]
    assert titles[-1] == "Effective rank (RankMe), at most 24"
    curves = [
        np.column_stack(line.get_data()).tolist()
        for ax in figure.axes
        for line in ax.get_lines()
        if len(line.get_xdata()) > 2
    ]
    order = ("knn_auc", "probe_auc", "recall@10", "recall@1", "same_patient", "rankme")
    expected = [[[x["epoch"], x[name]] for x in log] for name in ("loss", "lr")]
    expected += [[[x["epoch"], x[name]] for x in measured] for name in order]
    assert curves == expected
    chances = [
        line.get_ydata()[0]
        for ax in figure.axes
        for line in ax.get_lines()
        if line.get_linestyle() == "--"
    ]
    assert chances == [measured[-1]["chance"][name] for name in order[:-1]]


@pytest.mark.usefixtures("undrawn")
def test_event_files_hold_what_the_logs_hold(training, validation, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = watching(validation, tensorboard=True)
    with pytest.raises(KeyboardInterrupt):
        train(training, tmp_path, monitor, Toy(10), checkpoint_every=1e6)
    train(training, tmp_path, monitor, checkpoint_every=1e6)
    events = EventAccumulator(str(tmp_path / EVENTS))
    events.Reload()
    for group, name in (("train", LOG), ("monitors", MONITORS)):
        lines = read_lines(tmp_path / name)
        for key in ("loss", "lr") if group == "train" else NAMES:
            found = [(e.step, e.value) for e in events.Scalars(f"{group}/{key}")]
            expected = [(line["step"], line[key]) for line in lines]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert "monitors/epoch" not in events.Tags()["scalars"]
    assert len(list((tmp_path / EVENTS).iterdir())) == 1


def test_event_files_through_a_writer_of_our_own(tmp_path, monkeypatch):
    """Without the extra: which scalars are handed over, each once, and that older files go."""
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

    fake = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.delitem(sys.modules, "dbtssl.training.monitors.tensorboard_log", raising=False)
    from dbtssl.training.monitors.tensorboard_log import TensorBoardLog

    (tmp_path / "events.out.tfevents.1").write_bytes(b"of a killed run")
    log = TensorBoardLog(tmp_path)
    line = {"epoch": 1, "step": 3, "knn_auc": 0.5, "probe_auc": None, "chance": {"knn_auc": 0.5}}
    log.update([{"epoch": 1, "step": 3, "loss": 2.0}], [])
    log.update([{"epoch": 1, "step": 3, "loss": 2.0}], [line])
    assert written == [("train/loss", 2.0, 3), ("monitors/knn_auc", 0.5, 3)]
    assert not any(tmp_path.iterdir())
    monkeypatch.delitem(sys.modules, "dbtssl.training.monitors.tensorboard_log")


def test_event_files_that_cannot_be_written_are_refused_first(
    training, validation, tmp_path, monkeypatch
):
    monkeypatch.setattr("dbtssl.training.monitors.monitor_config.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="tensorboard is not installed") as caught:
        train(training, tmp_path, watching(validation, tensorboard=True))
    assert 'pip install "dbtssl[tensorboard]"' in caught.value.hint
    assert not any(tmp_path.iterdir())
    MonitorConfig(every=0, tensorboard=True).check()  # asks for nothing


def test_the_page_tells_every_setting_and_its_default():
    page = (Path(__file__).parents[3] / "docs" / "monitors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", page.partition("## Settings")[2], re.MULTILINE)
    assert {k: json.loads(v) for k, v in rows} == MonitorConfig().model_dump()
    for name in (*NAMES, "auc_chance_sd", "rankme_most", "missing"):
        assert f"`{name}`" in page, name
