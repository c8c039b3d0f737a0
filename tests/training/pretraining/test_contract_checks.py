"""Samplers and objectives at the training loop: what passes, what is refused, and what a plugin cannot read."""

from __future__ import annotations

import copy
import errno
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from dbtssl.config import Config
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.prepared.unlabelled import unlabelled
from dbtssl.data.records import Box, Cohort, Label, SliceRef, Volume
from dbtssl.errors import DataError, PluginError, TrainingError
from dbtssl.interfaces import Crop, Step, ViewSpec
from dbtssl.interfaces.boundary import calling
from dbtssl.nn.backbones import create_encoder
from dbtssl.nn.teacher import MomentumTeacher
from dbtssl.training.pretraining.contract_checks import positive
from dbtssl.training.pretraining.kept_encoder import kept_encoder, unmoved
from dbtssl.training.pretraining.pair_warnings import weak_pairs
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain
from dbtssl.training.training_log import Means

BOX = Box(0, 1.0, 2.0, 3.0, 4.0, Label.CANCER)


def volume(patient, view="lcc", n_slices=3, study="S"):
    return Volume(patient, study, view, n_slices, 40, 32, Label.CANCER, (BOX,))


COHORT = unlabelled(Cohort([volume("P0"), volume("P0", "lmlo", 2), volume("P1")]))


class Draws:
    """Gives back what it is told."""

    Config = Config

    def __init__(self, found):
        self.found = found

    def positive(self, anchor, cohort, rng):
        return self.found


def draw(found, anchor=SliceRef(0, 0), **attributes):  # noqa: B008 (a tuple)
    sampler = Draws(found)
    for name, value in attributes.items():
        setattr(sampler, name, value)
    return positive(sampler, anchor, COHORT, np.random.default_rng(0))


def test_integers_of_numpy_are_integers():
    found = draw(SliceRef(np.int64(1), np.uint8(1)))
    assert found == (1, 1)
    assert [type(x) for x in found] == [int, int]


def test_another_patient_is_refused_unless_the_sampler_declares_it():
    with pytest.raises(PluginError, match="another patient") as caught:
        draw(SliceRef(2, 0))
    assert caught.value.component == "sampler"
    assert draw(SliceRef(2, 0), crosses_patients=True) == SliceRef(2, 0)
    with pytest.raises(PluginError):
        draw(SliceRef(2, 0), crosses_patients="no")


@pytest.mark.parametrize(
    "found",
    [
        None, 3, (0, 0), SliceRef(-1, 0), SliceRef(3, 0), SliceRef(0, 3), SliceRef(0, -1), SliceRef(1, 2),
        SliceRef(0, 0.5), SliceRef(0, 1.0), SliceRef("0", 0), SliceRef(True, 0), SliceRef(0, None),
    ],
)  # fmt: skip
def test_what_is_no_slice_of_the_cohort_is_refused(found):
    with pytest.raises(
        PluginError, match=r"^positive\(SliceRef\(volume=0, z=0\)\) returned"
    ) as caught:
        draw(found)
    assert "SliceRef(volume, z)" in caught.value.hint


@pytest.mark.parametrize("name", ["label", "boxes"])
def test_a_volume_without_labels_tells_nothing_of_them(name):
    for one in (COHORT[0], pickle.loads(pickle.dumps(COHORT))[0], copy.deepcopy(COHORT[0])):
        with pytest.raises(PluginError, match=f"Volume.{name} was read in pretraining"):
            getattr(one, name, None)
        with pytest.raises(PluginError, match="no labels and no boxes"):
            hasattr(one, name)
        assert object.__getattribute__(one, "label") == Label.NORMAL
        assert object.__getattribute__(one, "boxes") == ()


def test_a_volume_without_labels_has_all_else():
    known = volume("P0")
    one = COHORT[0]
    assert isinstance(one, Volume)
    names = (
        "patient",
        "study",
        "view",
        "n_slices",
        "rows",
        "columns",
        "window",
        "crop",
        "id",
        "side",
        "projection",
    )
    assert [getattr(one, n) for n in names] == [getattr(known, n) for n in names]
    assert one == pickle.loads(pickle.dumps(one))
    assert one != COHORT[1]
    assert len({*COHORT, *COHORT}) == 3
    assert "CANCER" not in repr(one)
    assert COHORT.same_patient(0) == (0, 1)
    assert COHORT.other_projection(0) == (1,)


def raised(exc, component="objective"):
    with pytest.raises(BaseException) as caught, calling(component, "forward"):
        raise exc
    return caught.value


def test_an_error_of_a_component_is_marked_with_its_kind():
    own = raised(KeyError("bank"))
    assert (type(own), own.message, own.component) == (
        PluginError,
        "forward: KeyError: 'bank'",
        "objective",
    )
    assert "--debug" in own.hint
    assert isinstance(own.__cause__, KeyError)
    left = raised(SystemExit(3))
    assert (type(left), left.message) == (PluginError, "forward: SystemExit: 3")
    hinted = raised(PluginError("no bank", hint="make one"))
    assert (hinted.message, hinted.hint, hinted.component) == ("no bank", "make one", "objective")
    # a plugin's own error of the data costs its row, not the run
    data = raised(DataError("no such list", hint="write it"))
    assert (type(data), data.message, data.hint) == (PluginError, "no such list", "write it")


def test_interrupts_and_full_disks_are_nobodys():
    assert type(raised(KeyboardInterrupt())) is KeyboardInterrupt
    full = raised(OSError(errno.ENOSPC, "full"))
    assert full.errno == errno.ENOSPC
    assert isinstance(raised(FileNotFoundError(errno.ENOENT, "no weights")), PluginError)


def test_errors_of_the_data_pass_and_errors_of_settings_are_the_components():
    with (
        pytest.raises(DataError, match="holds these volumes twice") as caught,
        calling("finetuner", "fit"),
    ):
        Cohort([volume("P0"), volume("P0")])
    assert caught.value.component == "finetuner"
    with (
        pytest.raises(PluginError, match="unknown backbone 'resnet5O'") as settings,
        calling("finetuner", "fit"),
    ):
        create_encoder("resnet5O")
    assert (settings.value.component, type(settings.value)) == ("finetuner", PluginError)


def test_the_innermost_component_is_to_blame():
    with (
        pytest.raises(PluginError) as caught,
        calling("finetuner", "fit"),
        calling("sampler", "positive"),
    ):
        raise ValueError
    assert (caught.value.component, caught.value.message) == ("sampler", "positive: ValueError")


class Toy(nn.Module):
    """One convolution and its teacher; ``mode`` says what keeps the kept encoder from being trained."""

    Config = Config
    views = (ViewSpec("anchor", Crop(16)), ViewSpec("positive", Crop(16)))

    def __init__(self, mode="", seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(
                nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            )
            self.head = nn.Linear(4, 2)
        self.teacher = MomentumTeacher(self.net)
        self.copy, self.mode = copy.deepcopy(self.net), mode

    def forward(self, batch):
        a, b = (self.net(view) for view in batch.views)
        if self.mode == "detached":
            a, b = a.detach(), b.detach()
        if self.mode == "zero":
            a, b = 0 * a, 0 * b
        loss = (self.head(a) - self.head(b)).square().mean() + (1 - self.head(a)).square().mean()
        return Step(loss)

    def after_step(self, progress):
        if self.mode != "teacher":
            self.teacher.update(self.net, 0.9)

    def encoder(self):
        return {
            "teacher": self.teacher.module,
            "slow": self.teacher.module,
            "copy": self.copy,
        }.get(self.mode, self.net)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Eight volumes of four patients; those at an odd place have one slice."""
    rng = np.random.default_rng(0)
    volumes, arrays = [], []
    for i in range(8):
        n = 1 if i % 2 else 4
        volumes.append(volume(f"P{i // 2}", ("lcc", "lmlo")[i % 2], n))
        arrays.append(rng.integers(0, 1023, size=(n, 40, 32)).astype(np.uint16))
    return write_dataset(tmp_path_factory.mktemp("promises"), volumes, arrays).slices(range(8))


class Near:
    """Any slice of the volume."""

    Config = Config

    def positive(self, anchor, cohort, rng):
        return SliceRef(anchor.volume, int(rng.integers(cohort[anchor.volume].n_slices)))


class Same:
    Config = Config

    def positive(self, anchor, cohort, rng):
        return anchor


def train(objective, slices, folder, sampler=None, **changes):
    config = PretrainConfig(**({"epochs": 2, "batch_size": 4, "lr": 0.01} | changes))
    before = {name: tensor.clone() for name, tensor in objective.encoder().state_dict().items()}
    result = pretrain(
        objective, sampler or Same(), slices, config, seed=0, folder=folder, accelerator="cpu"
    )
    return result, unmoved(objective.encoder(), before, result.epochs)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("mode", ["detached", "zero", "teacher", "copy", "slow", ""])
def test_an_encoder_that_was_not_trained_is_told(slices, tmp_path, mode, optimizer):
    _, said = train(Toy(mode), slices, tmp_path, optimizer=optimizer, weight_decay=0.01)
    assert bool(said) == (mode not in ("slow", ""))
    if said:
        assert "2 epochs of pretraining moved no weight of the encoder" in said


def test_a_step_at_a_small_rate_is_a_training(slices, tmp_path):
    assert not train(Toy(), slices, tmp_path, optimizer="adamw", lr=1e-4, epochs=1)[1]


class HeadAlone(Toy):
    def encoder(self):
        return self.head


def test_what_fits_is_counted_in_one_line():
    toy = Toy()
    with pytest.raises(PluginError, match="0 of its 7 tensors fit; 7 missing: ") as caught:
        kept_encoder(HeadAlone(), toy.net.state_dict(), "after")
    assert len(caught.value.message) < 400
    assert kept_encoder(toy, toy.net.state_dict(), "after") is toy.net


def test_a_volume_of_one_slice_has_no_neighbour(slices, tmp_path, capsys):
    result, _ = train(Toy(), slices, tmp_path, Near())
    (said,) = result.warnings
    assert said.startswith("4 of 8 training volumes have one slice, which has no neighbour")
    spoken = " ".join(capsys.readouterr().err.split())
    assert spoken.index(f"warning, pretrain: {said}") < spoken.index("pretrain: 16/16")


class Elsewhere:
    """Another volume of the patient, so that no pair needs a neighbour; falls back if there is none."""

    Config = Config

    def positive(self, anchor, cohort, rng):
        others = [i for i in cohort.same_patient(anchor.volume) if i != anchor.volume]
        return SliceRef(others[0], 0) if others else anchor

    def has_partner(self, volume, cohort):
        return len(cohort.same_patient(volume)) > 1


def test_samplers_that_are_what_they_are_meant_to_be_are_not_warned_of(slices):
    tall = unlabelled(Cohort([volume("P0"), volume("P1"), volume("P2")]))
    assert weak_pairs(Same(), unlabelled(slices.cohort), {}, 0) == ()
    assert weak_pairs(Elsewhere(), unlabelled(slices.cohort), {"no_partner": 0.0}, 0) == ()
    assert weak_pairs(Near(), tall, {}, 0) == ()


def test_few_volumes_of_one_slice_are_no_warning():
    mixed = [volume(f"P{i}", n_slices=1 if i < 2 else 5) for i in range(30)]
    assert weak_pairs(Near(), unlabelled(Cohort(mixed)), {}, 0) == ()
    assert len(weak_pairs(Near(), unlabelled(Cohort(mixed[:12])), {}, 0)) == 1


def test_a_sampler_that_mostly_falls_back_is_told(tmp_path):
    rng = np.random.default_rng(0)
    volumes = [volume(f"P{i}") for i in range(4)]
    arrays = [rng.integers(0, 1023, size=(3, 40, 32)).astype(np.uint16) for _ in volumes]
    alone = write_dataset(tmp_path / "data", volumes, arrays).slices(range(4))
    result, _ = train(Toy(), alone, tmp_path / "run", Elsewhere())
    (said,) = result.warnings
    assert "no partner for 100 % of the training volumes" in said


def test_a_loss_that_is_not_finite_in_the_first_step_is_not_blamed_on_the_rate(slices, tmp_path):
    class Poisoned(Toy):
        def forward(self, batch):
            return Step(super().forward(batch).loss * float("nan"))

    with pytest.raises(
        TrainingError, match="in the first step, before any weight was changed"
    ) as caught:
        train(Poisoned(), slices, tmp_path)
    assert caught.value.component == "objective"
    assert "pretrain.lr" not in caught.value.hint


def test_a_log_that_not_every_step_has_is_a_mean_over_those_that_have_it():
    means = Means()
    means.add({"loss": torch.tensor(1.0)})
    means.add({"loss": torch.tensor(3.0), "entropy": torch.tensor(4.0)})
    assert means.means() == {"loss": 2.0, "entropy": 4.0}
    again = Means()
    again.load_state_dict(means.state_dict(), torch.device("cpu"))
    again.add({"loss": torch.tensor(5.0)})
    assert again.means() == {"loss": 3.0, "entropy": 4.0}
