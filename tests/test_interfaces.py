from __future__ import annotations

from dataclasses import replace

import pytest

from dbtssl.errors import PluginError
from dbtssl.testing.toy_objective import toy_batch, toy_objective

VIT = ("vit_tiny_patch16_224", {"img_size": 16, "patch_size": 4, "embed_dim": 12, "num_heads": 2})
SMALL = {"prototypes": 8, "patch_prototypes": 8, "hidden": 8, "crop_size": 16, "local_size": 8}


@pytest.mark.parametrize(
    ("name", "fields", "backbone", "part"),
    [
        ("mammodino", SMALL, VIT, "seeds"),
        ("implants", {"crop_size": 24}, None, "seeds"),
        ("implants", {"crop_size": 24}, None, "z"),
        ("implants", {"crop_size": 24}, None, "pixel"),
    ],
)
def test_a_batch_without_a_part_that_the_objective_reads_is_refused(name, fields, backbone, part):
    objective = toy_objective(name, fields, backbone=backbone)
    whole = toy_batch(objective, n=4)
    with pytest.raises(PluginError, match=rf"reads Batch\.{part}, got 0 of it") as error:
        objective(replace(whole, **{part: ()}))
    assert error.value.hint == f"give Batch {part}=(...); the batches of pretrain have it"
