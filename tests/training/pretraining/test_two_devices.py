"""A whole training on two processes (gloo), started as torchrun would start them, against one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from dbtssl.plugins import registry
from dbtssl.testing.toy_cohort import toy_cohort
from dbtssl.testing.toy_objective import toy_objective
from dbtssl.training.pretraining.loop import CHECKPOINT
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

FIELDS = {"dim": 6, "hidden": 16, "crop_size": 20}
MORE = {  # dino leaves parameters out of some steps
    "dino": {"bottleneck": 8, "local_size": 12, "local_views": 2, "freeze_last_layer": 0.1}
}
PLAN = {
    "epochs": 3,
    "batch_size": 8,
    "slices_per_volume": 2,
    "optimizer": "lars",
    "lr": 1.0,
    "weight_decay": 1e-3,
    "weight_decay_end": 1e-2,
    "decay_bias_norm": False,
    "bias_norm_lr": 0.1,
    "clip_norm": 0.5,
    "warmup_epochs": 1.0,
}
SCRIPT = f"""
import sys
from pathlib import Path

import torch

from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.plugins import registry
from dbtssl.testing.toy_objective import toy_objective
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

root, name = Path(sys.argv[1]), sys.argv[2]
pretrain(
    toy_objective(name, {FIELDS!r} | {MORE!r}.get(name, {{}})),
    registry().build("sampler", "same-slice", {{}}),
    PreparedDataset.open(root / "data").slices(range(8)),
    PretrainConfig(**{PLAN!r}),
    seed=1, folder=root / "two", accelerator="cpu", devices=2,
)
torch.distributed.destroy_process_group()
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "barlow-twins", "dino"])
def test_two_devices_end_with_the_weights_of_one(name, tmp_path):
    """Six steps: batches shared, statistics and negatives over both, gradients averaged and clipped alike."""
    slices = toy_cohort(tmp_path / "data")
    (tmp_path / "train.py").write_text(SCRIPT)
    common = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "train.py"), str(tmp_path), name],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    output = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(output)
    sampler = registry().build("sampler", "same-slice", {})
    start, one = (toy_objective(name, FIELDS | MORE.get(name, {})) for _ in range(2))
    run = {"seed": 1, "folder": tmp_path / "one", "accelerator": "cpu"}
    pretrain(one, sampler, slices, PretrainConfig(**PLAN), **run)
    two = torch.load(tmp_path / "two" / CHECKPOINT, weights_only=True)["objective"]
    for key, expected in one.state_dict().items():
        torch.testing.assert_close(two[key], expected, rtol=1e-3, atol=2e-5, msg=key)
    for before, after in zip(start.parameters(), one.parameters(), strict=True):
        trained = after.requires_grad and after.ndim > 1
        assert not trained or (after - before).norm() > 1e-3 * before.norm()
