"""Patches to logits, batched across slices, and the predictions table: the artifact every number is computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from dbtssl.errors import ConfigError, PluginError
from dbtssl.evaluation.predictions.prediction_table import SCHEMA, SCHEMA_VERSION
from dbtssl.inference.network_checks import check_logits
from dbtssl.interfaces.boundary import calling
from dbtssl.patches.fixed_patches import FixedPatches, GridPatches, Patches
from dbtssl.progress import Ticker, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.data.records import Volume
    from dbtssl.interfaces import Labelled
    from dbtssl.patches.patch_rule import PatchRule

PATCHES = 20  # patches a slice (SIFT-DBT's README: "maximum n=20")
OVERLAP = 0.5  # fraction of a patch's side that neighbours on the lattice have in common, at least
BATCH_PIXELS = (
    2**22
)  # pixels a forward pass: 20 patches of 448, 1024 of 64; cnn7 then takes under 2 GB

Inference = Literal["random", "grid", "oracle"]
FeaturesOf = Literal["patch", "slice"]


def predict(
    model: nn.Module,
    labelled: Labelled,
    rule: PatchRule,
    *,
    inference: Inference = "random",
    count: int = PATCHES,
    seed: int = 0,
    overlap: float = OVERLAP,
    every: int = 1,
    features: FeaturesOf | None = None,
    split: str = "",
    phantom: bool = False,
    batch_size: int | None = None,
    accelerator: str = "auto",
    workers: int = 0,
    what: str = "predict",
) -> pa.Table:
    """Score patches of every slice, or of every ``every``-th; one row a slice, in the order of the cohort.

    ``model`` maps ``(B, 1, S, S)`` to ``(B,)`` logits. Logits are kept, not probabilities, which saturate. ``random``
    scores ``count`` patches whose places depend on ``seed``, the volume's id, the slice and the patch number alone, so
    the first n logits of a row are the prediction with n patches. ``grid`` scores a lattice with ``overlap`` that
    covers all tissue. ``oracle`` is ``random`` with patches of abnormal slices placed over the lesion: a diagnostic.
    ``features`` keeps the output of ``model.encoder``: of each patch, or the mean over the patches of a slice.
    ``batch_size``, in patches of whatever slices, does not decide the result; by default it is what `BATCH_PIXELS`
    allows. The schema's metadata says how it was made; docs/predictions.md has the columns.
    """
    patches: Patches
    if inference == "grid":
        patches = GridPatches(labelled.slices, rule, overlap=overlap, every=every)
    else:
        oracle = labelled.abnormal if inference == "oracle" else None
        patches = FixedPatches(
            labelled.slices, rule, count=count, seed=seed, every=every, oracle=oracle
        )
    with progress(what, len(patches), "slices") as ticker:
        logits, found = patch_outputs(
            model,
            patches,
            features=features,
            batch_size=batch_size,
            device=single_device(accelerator),
            workers=workers,
            ticker=ticker,
        )
    metadata = {
        "schema": str(SCHEMA_VERSION),
        "split": split,
        "inference": inference,
        "phantom": str(phantom).lower(),
        "patch_size": str(rule.size),
        "min_tissue": repr(rule.min_tissue),
        "seed": str(seed),
    }
    metadata |= {"overlap": repr(overlap)} if inference == "grid" else {"count": str(count)}
    if every > 1:
        metadata["every"] = str(every)
    table = _table(labelled, patches, logits)
    if found is not None:
        table = table.append_column("features", _features(found, patches, features))
        metadata["n_features"] = str(found.shape[1])
    return table.replace_schema_metadata(metadata)


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
    logits, _ = patch_outputs(
        model, patches, batch_size=batch_size, device=device, workers=workers, ticker=ticker
    )
    return logits.reshape(len(patches), patches.count)


def patch_outputs(
    model: nn.Module,
    patches: Patches,
    *,
    features: FeaturesOf | None = None,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    ticker: Ticker | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Logits of every patch, ``(N,)``, and where asked for the features of patches ``(N, D)`` or slices ``(S, D)``.

    The model is left in evaluation mode. Raises `PluginError` where it has no ``encoder`` to take features of.
    """
    # channels last: up to three times as fast on a CPU
    model.to(device).to(memory_format=torch.channels_last).eval()
    size = batch_size or max(1, BATCH_PIXELS // patches.rule.size**2)
    sizes = np.diff(patches.offsets)
    loader: DataLoader[Any] = DataLoader(
        patches,  # type: ignore[arg-type]
        batch_size=max(1, size // max(1, int(sizes.max(initial=0)))),
        num_workers=workers,
        pin_memory=torch.device(device).type == "cuda",
        collate_fn=_stacked,
        generator=torch.Generator(),  # else the loader moves the global random state
    )
    out = np.empty(int(patches.offsets[-1]), dtype=np.float32)
    kept: list[NDArray[np.float32]] = []
    caught: list[torch.Tensor] = []
    hook = _catch(model, caught) if features else None
    done = patch = 0
    try:
        with torch.inference_mode():
            for batch, n in loader:  # patches x 1 x S x S
                caught.clear()
                parts = batch.split(size)
                logits = torch.cat([_logits(model, part, device) for part in parts])
                out[patch : patch + len(batch)] = logits.float().cpu().numpy()
                if features:
                    of_patches = torch.cat(caught).float().cpu().numpy()
                    kept.append(_of(features, of_patches, sizes[done : done + n]))
                done, patch = done + n, patch + len(batch)
                if ticker is not None:
                    ticker.advance(n)
    finally:
        if hook is not None:
            hook.remove()
    return out, np.concatenate(kept) if kept else None


def _logits(model: nn.Module, patches: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    with calling("finetuner", f"forward of {type(model).__name__} with {tuple(patches.shape)}"):
        found: torch.Tensor = model(patches.to(device, non_blocking=True))
    check_logits(found, len(patches))
    return found


def _stacked(stacks: Sequence[NDArray[np.float32]]) -> tuple[torch.Tensor, int]:
    """The patches of several slices, which may differ in number, and how many slices there are."""
    return torch.from_numpy(np.concatenate(stacks)), len(stacks)


def _catch(model: nn.Module, caught: list[torch.Tensor]) -> torch.utils.hooks.RemovableHandle:
    """Keep what ``model.encoder`` gives at each call."""
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise PluginError(
            f"the classifier {type(model).__name__} has no encoder, so that it has no features",
            hint="choose an aggregator of logits",
        )
    return encoder.register_forward_hook(lambda module, args, output: caught.append(output))


def _of(
    features: FeaturesOf, of_patches: NDArray[np.float32], sizes: NDArray[np.int64]
) -> NDArray[np.float32]:
    if features == "patch":
        return of_patches
    starts = np.cumsum(sizes) - sizes
    return np.asarray(np.add.reduceat(of_patches, starts) / sizes[:, None], dtype=np.float32)


def single_device(accelerator: str) -> torch.device:
    """The one device that Lightning Fabric takes for ``accelerator`` (auto, cpu, cuda, mps)."""
    try:
        device: torch.device = Fabric(accelerator=accelerator, devices=1).device
    except (RuntimeError, ValueError) as exc:
        raise ConfigError(
            f"accelerator {accelerator!r} is not here: {exc}", hint="take auto or cpu"
        ) from exc
    return device


def _table(labelled: Labelled, patches: Patches, logits: NDArray[np.float32]) -> pa.Table:
    cohort = labelled.slices.cohort
    volumes = [cohort[ref.volume] for ref in patches.refs]
    corners = patches.places()
    columns = {
        "volume": [v.id for v in volumes],
        "patient": [v.patient for v in volumes],
        "study": [v.study for v in volumes],
        "view": [v.view for v in volumes],
        "label": [int(v.label) for v in volumes],
        "n_slices": [v.n_slices for v in volumes],
        "rows": [v.rows for v in volumes],
        "columns": [v.columns for v in volumes],
        "z": [ref.z for ref in patches.refs],
        "abnormal": np.array([labelled.abnormal[r.volume][r.z] for r in patches.refs], np.bool_),
        "boxes": [_boxes(cohort[ref.volume], ref.z) for ref in patches.refs],
        "logits": _lists(logits, patches.offsets, pa.float32()),
        "y": _lists(corners[:, 0], patches.offsets, pa.int32()),
        "x": _lists(corners[:, 1], patches.offsets, pa.int32()),
    }
    return pa.table(columns, schema=SCHEMA)


def _boxes(volume: Volume, z: int) -> list[dict[str, object]]:
    """The boxes that are annotated on slice ``z``."""
    return [
        {
            "x": box.x,
            "y": box.y,
            "width": box.width,
            "height": box.height,
            "label": int(box.label),
            "distortion": box.distortion,
        }
        for box in volume.boxes
        if box.z == z
    ]


def _features(found: NDArray[np.float32], patches: Patches, of: FeaturesOf | None) -> pa.Array:
    offsets = patches.offsets if of == "patch" else np.arange(len(patches) + 1, dtype=np.int64)
    values = pa.array(found.astype(np.float16).ravel())
    return pa.LargeListArray.from_arrays(pa.array(offsets * found.shape[1]), values)


def _lists(
    values: NDArray[np.generic], offsets: NDArray[np.int64], kind: pa.DataType
) -> pa.ListArray:
    """A list column: row i holds ``values[offsets[i]:offsets[i + 1]]``."""
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values, type=kind))
