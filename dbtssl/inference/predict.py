"""Patches to logits, batched across slices, and the predictions table: the artifact every number is computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from dbtssl.errors import ConfigError
from dbtssl.inference.dataset import FixedPatches
from dbtssl.progress import Ticker, progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.inference.patches import PatchRule
    from dbtssl.interfaces import Labelled

PATCHES = 20  # patches a slice (SIFT-DBT's README: "maximum n=20")
BATCH_PIXELS = (
    2**22
)  # pixels a forward pass: 20 patches of 448, 1024 of 64; cnn7 then takes under 2 GB

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("volume", pa.string()),
            ("patient", pa.string()),
            ("study", pa.string()),
            ("view", pa.string()),
            ("label", pa.int8()),
            ("z", pa.int32()),
            ("n_slices", pa.int32()),
            ("abnormal", pa.bool_()),
            ("logits", pa.list_(pa.float32())),
            ("y", pa.list_(pa.int32())),
            ("x", pa.list_(pa.int32())),
        )
    ]
)


def predict(
    model: nn.Module,
    labelled: Labelled,
    rule: PatchRule,
    *,
    count: int = PATCHES,
    seed: int = 0,
    batch_size: int | None = None,
    accelerator: str = "auto",
    workers: int = 0,
    what: str = "predict",
) -> pa.Table:
    """Score ``count`` patches of every slice; one row a slice, in the order of the cohort (columns: `SCHEMA`).

    ``model`` maps ``(B, 1, S, S)`` to ``(B,)`` logits. Logits are kept, not probabilities, which saturate. Where the
    patches lie depends on ``seed``, the volume's id, the slice and the patch number alone, so the first n logits of a
    row are the prediction with n patches. ``batch_size``, in patches of whatever slices, does not decide the result; by
    default it is what `BATCH_PIXELS` allows. The schema's metadata holds ``patch_size``, ``min_tissue``, ``count`` and
    ``seed``.
    """
    patches = FixedPatches(labelled.slices, rule, count=count, seed=seed)
    with progress(what, len(patches), "slices") as ticker:
        logits = slice_logits(
            model,
            patches,
            batch_size=batch_size,
            device=single_device(accelerator),
            workers=workers,
            ticker=ticker,
        )
    metadata = {
        "patch_size": str(rule.size),
        "min_tissue": repr(rule.min_tissue),
        "count": str(count),
        "seed": str(seed),
    }
    return _table(labelled, patches, logits).replace_schema_metadata(metadata)


def slice_logits(
    model: nn.Module,
    patches: FixedPatches,
    *,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    ticker: Ticker | None = None,
) -> NDArray[np.float32]:
    """Logits of every patch, shape ``(len(patches), patches.count)``; the model is left in evaluation mode."""
    # channels last: up to three times as fast on a CPU
    model.to(device).to(memory_format=torch.channels_last).eval()
    size = batch_size or max(1, BATCH_PIXELS // patches.rule.size**2)
    loader = DataLoader(
        patches,
        batch_size=max(1, size // patches.count),
        num_workers=workers,
        pin_memory=torch.device(device).type == "cuda",
        generator=torch.Generator(),  # else the loader moves the global random state
    )
    out = np.empty((len(patches), patches.count), dtype=np.float32)
    done = 0
    with torch.inference_mode():
        for batch in loader:  # n x count x 1 x S x S
            n = len(batch)
            parts = batch.flatten(0, 1).split(size)
            logits = torch.cat([model(part.to(device, non_blocking=True)) for part in parts])
            out[done : done + n] = logits.float().cpu().numpy().reshape(n, patches.count)
            done += n
            if ticker is not None:
                ticker.advance(n)
    return out


def single_device(accelerator: str) -> torch.device:
    """The one device that Lightning Fabric takes for ``accelerator`` (auto, cpu, cuda, mps)."""
    try:
        device: torch.device = Fabric(accelerator=accelerator, devices=1).device
    except (RuntimeError, ValueError) as exc:
        raise ConfigError(
            f"accelerator {accelerator!r} is not here: {exc}", hint="take auto or cpu"
        ) from exc
    return device


def _table(labelled: Labelled, patches: FixedPatches, logits: NDArray[np.float32]) -> pa.Table:
    cohort = labelled.slices.cohort
    volumes = [cohort[ref.volume] for ref in patches.refs]
    columns = {
        "volume": [v.id for v in volumes],
        "patient": [v.patient for v in volumes],
        "study": [v.study for v in volumes],
        "view": [v.view for v in volumes],
        "label": [int(v.label) for v in volumes],
        "z": [ref.z for ref in patches.refs],
        "n_slices": [v.n_slices for v in volumes],
        "abnormal": np.concatenate([*labelled.abnormal, np.zeros(0, dtype=np.bool_)]),
        "logits": _lists(logits, pa.float32()),
        "y": _lists(patches.corners[:, :, 0], pa.int32()),
        "x": _lists(patches.corners[:, :, 1], pa.int32()),
    }
    return pa.table(columns, schema=SCHEMA)


def _lists(values: NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """Rows of a matrix as a list column."""
    n, width = values.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * width, type=pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), type=kind))
