"""Two gloo processes with half a batch each against one process with all of it, for every objective."""

from __future__ import annotations

import pytest

from dbtssl.plugins import registry
from dbtssl.testing.devices import two_devices_against_one

SMALL = {
    "dim": 6,
    "hidden": 16,
    "bottleneck": 8,
    "queue_size": 24,
    "crop_size": 20,
    "local_size": 12,
    "local_views": 3,
    "projections": 64,
    "splits": 2,  # one on each device
    "prototypes": 12,
    "patch_prototypes": 10,
    "dense": 0.5,
}
BACKBONES = {
    "mammodino": (
        "vit_tiny_patch16_224",
        {"img_size": 20, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2},
    )
}
OBJECTIVES = registry().names("objective")
SHUFFLED = {
    "moco-v2",
    "densecl",
}  # ShuffleBN: each device normalises with its own images, on purpose
FLOAT = 1e-5  # of float32 sums in another order


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    cases = {}
    for name in OBJECTIVES:
        known = registry().load("objective", name).Config.model_fields
        fields = {key: value for key, value in SMALL.items() if key in known}
        for frozen in (True, False):
            case = {"objective": name, "fields": fields, "frozen": frozen}
            cases[f"{name} {frozen}"] = case | {"backbone": BACKBONES.get(name)}
    return two_devices_against_one(cases, tmp_path_factory.mktemp("devices"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_devices_equal_one_once_batch_norm_is_frozen(differences, name):
    """Loss, gradients, queues and centres: negatives and statistics of the loss are over all devices."""
    found = differences[f"{name} True"]
    assert max(found.loss, found.gradient, found.state) < FLOAT
    assert found.ranks == 0.0


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - SHUFFLED))
def test_two_devices_equal_one_in_training(differences, name):
    """Batch statistics are over all devices."""
    found = differences[f"{name} False"]
    assert max(found.loss, found.gradient, found.state, found.ranks) < FLOAT


@pytest.mark.parametrize("name", sorted(SHUFFLED))
def test_batches_are_shuffled_where_statistics_are_each_devices_own(differences, name):
    """The parts of a batch that share statistics hold other images on two devices than on one."""
    found = differences[f"{name} False"]
    assert FLOAT < found.loss < 0.01
    assert FLOAT < found.gradient < 0.1
    assert found.ranks > FLOAT
