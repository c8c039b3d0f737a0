"""The stages of the tasks beside detection: features of the frozen encoder, and what they are good for.

Neither knows of the fine-tuning. The first looks at every volume of all parts by one rule, and at no label; the second
needs no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dbtssl.benchmark.stages.train_stages import backbone_key, start_encoder
from dbtssl.config import digest
from dbtssl.engine.store import Stage
from dbtssl.evaluation.probes.frozen_probes import VolumeEmbeddings, frozen_tasks
from dbtssl.io import write_bytes, write_text
from dbtssl.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from torch import nn

    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.spec.specification import TasksSpec
    from dbtssl.benchmark.stages.context import Context
    from dbtssl.engine.store import Output
    from dbtssl.progress import Ticker

FEATURES, TASKS = "features", "tasks"
FEATURES_VERSION, TASKS_VERSION = 1, 2
FEATURES_FILE, TASKS_FILE = "features.safetensors", "tasks.json"
PARTS = ("train", "val", "test")
AT_ONCE = 256  # volumes whose patches' features are held in memory


def features_stage(ctx: Context, row: Row, seed: int, pretrained: Output | None) -> Stage:
    """The feature of every volume of the split: the mean over fixed patches of a few slices, evenly spaced."""

    def run(folder: Path) -> None:
        from safetensors.numpy import save

        from dbtssl.inference.predict import single_device

        encoder = start_encoder(row, seed, pretrained)
        device = single_device(ctx.spec.run.accelerator)
        encoder.to(device)
        of_part = {name: getattr(ctx.data.split, name) for name in PARTS}
        count = sum(map(len, of_part.values()))
        with progress(f"features {row.name}", count, "volumes") as ticker:
            parts = {
                name: _features(ctx, part, encoder, device, ticker)
                for name, part in of_part.items()
            }
        write_bytes(folder / FEATURES_FILE, save(parts))

    return Stage(
        name=FEATURES,
        label=f"{row.name}, seed {seed}",
        version=FEATURES_VERSION,
        config={"backbone": backbone_key(row), "places": _places(ctx), "seed": seed},
        parents=ctx.data.key() | ({"pretrain": pretrained.content} if pretrained else {}),
        outputs=(FEATURES_FILE,),
        run=run,
    )


def tasks_stage(ctx: Context, row: Row, seed: int, features: Output) -> Stage:
    """Breast density and the other view, from features and ids alone."""
    density, asked = ctx.density, _asked(ctx)
    assert density is not None, "there are tasks"
    confidence = ctx.spec.rules.confidence
    known = digest([None if np.isnan(value) else value for value in density.values.tolist()])

    def run(folder: Path) -> None:
        from safetensors.numpy import load_file

        of = load_file(features.folder / FEATURES_FILE)
        cohort, split = ctx.data.dataset.cohort, ctx.data.split
        train, val, test = (
            _embedded(ctx, getattr(split, name), of[name], density.values) for name in PARTS
        )
        result = frozen_tasks(
            train,
            val,
            test,
            confidence=confidence,
            no_density=density.missing,
            evaluation_set=digest(sorted(cohort[i].id for i in split.test)),
            rule=digest([_places(ctx), known, confidence]),
            slices=asked.slices,
            patches=asked.patches,
        )
        write_text(folder / TASKS_FILE, result.to_json())

    return Stage(
        name=TASKS,
        label=f"{row.name}, seed {seed}",
        version=TASKS_VERSION,
        config={
            "density": known,
            "missing": density.missing,
            "places": _places(ctx),
            "confidence": confidence,
        },
        parents=ctx.data.key() | {"features": features.content},
        outputs=(TASKS_FILE,),
        run=run,
    )


def _features(
    ctx: Context, part: Sequence[int], encoder: nn.Module, device: torch.device, ticker: Ticker
) -> NDArray[np.float32]:
    """The features of the volumes ``part``, in their order, ``(V, D)``."""
    from dbtssl.patches.monitor_patches import spread_patches
    from dbtssl.training.monitors.monitor_runner import features

    slices, asked = ctx.data.dataset.slices(part), _asked(ctx)
    out = []
    for start in range(0, len(part), AT_ONCE):
        volumes = range(start, min(start + AT_ONCE, len(part)))
        patches = spread_patches(slices, ctx.rule, volumes, asked.slices, asked.patches)
        _, means = patches.volume_means(features(encoder, patches, device))
        out.append(means)
        ticker.advance(len(volumes))
    return np.concatenate(out)


def _embedded(
    ctx: Context,
    part: Sequence[int],
    features: NDArray[np.float32],
    density: NDArray[np.float64],
) -> VolumeEmbeddings:
    cohort, at = ctx.data.dataset.cohort, list(part)
    return VolumeEmbeddings(
        features.astype(np.float64),
        cohort.patient_ids[at],
        cohort.breast_ids[at],
        np.array([cohort[i].projection == "mlo" for i in at], dtype=np.bool_),
        density[at],
    )


def _asked(ctx: Context) -> TasksSpec:
    assert ctx.spec.tasks is not None, "the stages are made where there are tasks"
    return ctx.spec.tasks


def _places(ctx: Context) -> dict[str, Any]:
    """What decides where the patches lie."""
    rule, asked = ctx.rule, _asked(ctx)
    return {
        "size": rule.size,
        "min_tissue": rule.min_tissue,
        "slices": asked.slices,
        "patches": asked.patches,
    }
