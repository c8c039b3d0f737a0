"""Two gloo processes with half a batch each equal one process with all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .conftest import VARIANTS

SCRIPT = """
import sys
from pathlib import Path

import torch
from torch import distributed

root, rank, ranks, variant = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
sys.path.insert(0, sys.argv[5])
from conftest import Batch, batch, build

if ranks > 1:
    store = f"file://{root / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
objective = build(cross_slice=variant)
with torch.no_grad():
    for p in objective.teacher.parameters():
        p.mul_(1.1)
whole = batch(objective, other_volume=() if variant == "none" else (1, 2))
whole.tissue[0][0] = False  # so that the devices have masks and tissue in other numbers
share = slice(8 // ranks * rank, 8 // ranks * (rank + 1))
mine = Batch(*(tuple(x[share] for x in getattr(whole, k)) for k in Batch.__dataclass_fields__))
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
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_equal_one(variant, tmp_path):
    """Losses, gradients as DDP averages them, centres and queue; masks too, for they come from each sample's seed."""
    script = tmp_path / "step.py"
    script.write_text(SCRIPT)
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                *map(str, (script, tmp_path, rank, ranks, variant, Path(__file__).parent)),
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
