"""Two gloo processes with half a batch each equal one process with all of it, once batch normalisation is frozen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

OBJECTIVES = ("simclr", "byol", "simsiam", "vicreg", "dino", "densecl", "lejepa")

SCRIPT = """
import sys
from pathlib import Path

import torch
from torch import distributed

root, rank, ranks, name = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
sys.path.insert(0, sys.argv[5])
from conftest import Batch, batch, build

if ranks > 1:
    store = f"file://{root / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
objective = build(name, **({"splits": 1} if name == "densecl" else {})).eval()
whole = batch(objective)
share = slice(8 // ranks * rank, 8 // ranks * (rank + 1))
mine = Batch(*(tuple(x[share] for x in getattr(whole, k)) for k in Batch.__dataclass_fields__))
torch.manual_seed(7)
loss = objective(mine).loss
loss.backward()
after = {k: v for k, v in objective.state_dict().items() if "_extra" not in k}
out = {"loss": loss.detach(), **after}
out |= {f"grad {k}": p.grad for k, p in objective.named_parameters() if p.grad is not None}
torch.save(out, root / f"{ranks}-{rank}.pt")
if ranks > 1:
    distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_equal_one(name, tmp_path):
    """Not Barlow Twins: it standardises features over the images of a device, as its authors' code does."""
    script = tmp_path / "step.py"
    script.write_text(SCRIPT)
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                *map(str, (script, tmp_path, rank, ranks, name, Path(__file__).parent)),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for ranks, rank in ((1, 0), (2, 0), (2, 1))
    ]
    output = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(output)
    one, first, second = (
        torch.load(tmp_path / f"{x}.pt", weights_only=True) for x in ("1-0", "2-0", "2-1")
    )
    assert one.keys() == first.keys() == second.keys()
    for key, expected in one.items():
        if key == "loss" or key.startswith("grad"):  # DDP averages gradients
            found = (first[key] + second[key]) / 2
        else:
            found = first[key]
            torch.testing.assert_close(first[key], second[key], msg=key)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-3, msg=key)
