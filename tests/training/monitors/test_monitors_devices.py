"""Two processes on the CPU (gloo), started as torchrun would start them: one looks, and nothing changes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Box, Label, Volume

SCRIPT = """
import sys
from pathlib import Path

import torch
from torch import nn

from dbtssl.api import SliceRef
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.patches.patch_rule import PatchRule
from dbtssl.interfaces import Crop, Step, ViewSpec
from dbtssl.training.monitors.monitor_config import Monitor, MonitorConfig
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

root = Path(sys.argv[1])
data = PreparedDataset.open(root / "data")
watching = Monitor(data.slices(range(8, 24)), PatchRule(16), MonitorConfig(every=1, slices=1))


class Same:
    def positive(self, anchor, cohort, rng):
        return SliceRef(anchor.volume, int(rng.integers(2)))


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.views = (ViewSpec("anchor", Crop(16)), ViewSpec("positive", Crop(16)))
        self.net = nn.Sequential(
            nn.Conv2d(1, 6, 5, stride=3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()
        )

    def forward(self, batch):
        return Step((self.net(batch.views[0]) - self.net(batch.views[1])).square().mean())

    def after_step(self, progress):
        pass

    def encoder(self):
        return self.net


for name, monitor in (("without", None), ("with", watching)):
    torch.manual_seed(0)
    toy = Toy()
    pretrain(
        toy, Same(), data.slices(range(8)), PretrainConfig(epochs=3, batch_size=4),
        seed=0, folder=root / name, accelerator="cpu", devices=2, monitor=monitor,
    )
    rank = torch.distributed.get_rank()
    torch.save(toy.state_dict(), root / f"{name}{rank}.pt")
torch.distributed.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.slow
def test_one_process_looks_and_the_weights_are_the_same(tmp_path):
    rng = np.random.default_rng(0)
    volumes = []
    for i in range(24):  # patients of two volumes; of every four the first two have a lesion
        sick = i % 8 < 4
        boxes = (Box(1, 4.0, 4.0, 8.0, 8.0, Label.CANCER),) if sick else ()
        label = Label.CANCER if sick else Label.NORMAL
        volumes.append(Volume(f"P{i // 2}", "S", ("lcc", "lmlo")[i % 2], 2, 24, 24, label, boxes))
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
    for rank in range(2):
        without, with_ = (
            torch.load(tmp_path / f"{name}{rank}.pt", weights_only=True)
            for name in ("without", "with")
        )
        assert all(torch.equal(value, with_[key]) for key, value in without.items())
    lines = [json.loads(x) for x in (tmp_path / "with" / "monitors.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert all(line["knn_auc"] is not None for line in lines)
