"""Two processes on the CPU (gloo), started as torchrun would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, Volume

SCRIPT = """
import sys
from pathlib import Path

import torch
from torch import nn

from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.nn.devices.distributed import gather, rank, shuffle, unshuffle
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain
from dbtssl_moco.objective import MoCoV2
from dbtssl_moco.sampler import SameSlice

root = Path(sys.argv[1])


class Encoder(nn.Module):
    num_features = 6

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6)

    def forward(self, x):
        return self.norm(self.conv(x)).relu().mean(dim=(2, 3))


seen = []


class Watched(MoCoV2):
    def forward(self, batch):
        here = torch.arange(4) + 10 * rank()
        mixed, order = shuffle(here)
        assert torch.equal(unshuffle(mixed, order), here)
        assert sorted(gather(mixed).tolist()) == [0, 1, 2, 3, 10, 11, 12, 13]
        seen.append(gather(batch.volume[1]).tolist())
        return super().forward(batch)


torch.manual_seed(0)
config = MoCoV2.Config(dim=4, queue_size=24, crop_size=16, splits=4)
objective = Watched(Encoder(), config)
slices = PreparedDataset.open(root / "data").slices(range(8))
schedule = PretrainConfig(epochs=2, batch_size=8, slices_per_volume=2)
pretrain(
    objective, SameSlice(), slices, schedule,
    seed=0, folder=root / "run", accelerator="cpu", devices=2,
)
torch.save(
    {"state": objective.state_dict(), "seen": seen}, root / f"rank{rank()}.pt"
)
torch.distributed.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.slow
def test_two_processes_have_one_queue_of_gathered_keys(tmp_path):
    rng = np.random.default_rng(0)
    volumes = [Volume(f"P{i}", "S", "lcc", 2, 24, 24, Label.NORMAL) for i in range(8)]
    arrays = [rng.integers(0, 1023, (2, 24, 24)).astype(np.uint16) for _ in volumes]
    write_dataset(tmp_path / "data", volumes, arrays)
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
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
            [sys.executable, str(script), str(tmp_path)],
            env={**os.environ, **common, "RANK": str(r), "LOCAL_RANK": str(r)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for r in range(2)
    ]
    output = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(output)

    first, second = (torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in range(2))
    assert first["seen"] == second["seen"]
    assert [len(step) for step in first["seen"]] == [8] * 4
    pushed = [volume for step in first["seen"] for volume in step]
    state = first["state"]
    assert int(state["queue.pointer"]) == 32 % 24
    expected = [*pushed[24:], *pushed[8:24]]
    assert state["queue.volume"].tolist() == expected
    for name, value in state.items():  # statistics of batches are each rank's own
        if "running" not in name:
            assert torch.equal(value, second["state"][name]), name
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert torch.equal(saved["objective"]["queue.keys"], state["queue.keys"])
