"""The networks and components of a row, built and tried on an image of every size before any work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbtssl.errors import ConfigError, DbtsslError, PluginError
from dbtssl.interfaces.boundary import described
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from torch import nn

    from dbtssl.benchmark.inputs.open_dataset import Data
    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.spec.specification import Spec

CORE = "dbtssl"
TRIED = 2  # images in a batch


def check_networks(row: Row, patch_size: int) -> None:
    """Build the row's components and show the encoder an image of every size that it will meet."""
    import torch

    from dbtssl.nn.backbones import create_encoder

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        encoder = create_encoder(row.backbone.name, **row.backbone.args).eval()
        shapes = {(patch_size, patch_size)}
        if row.objective is not None and row.sampler is not None:
            shapes |= {view.crop.shape for view in row.objective.build(encoder).views}
            row.sampler.build()
        row.finetuner.build()
        for rows, columns in sorted(shapes):
            _try(row, encoder, rows, columns)


def _try(row: Row, encoder: nn.Module, rows: int, columns: int) -> None:
    """Show ``encoder`` a batch of that size and look at what comes out."""
    import torch

    name, image = row.backbone.name, f"{rows} x {columns} pixels"
    try:
        found = encoder(torch.zeros(TRIED, 1, rows, columns))
    except DbtsslError:
        raise
    except Exception as exc:
        message = f"cannot take images of {image}: {type(exc).__name__}: {exc}"
        if (origin := _foreign(name)) is not None:
            raise PluginError(
                f"row {row.name!r}: {origin} {message}",
                hint="a backbone maps (B, 1, rows, columns) to (B, num_features); or change the crop or patch size",
            ) from exc
        raise ConfigError(
            f"row {row.name!r}: backbone {name!r} {message}",
            hint="change the crop or patch size, or backbone.args",
        ) from exc
    network: Any = encoder
    expected = (TRIED, network.num_features)
    if not isinstance(found, torch.Tensor) or tuple(found.shape) != expected:
        what = (
            f"gave {described(found)} for {TRIED} images of {image}, expected shape {expected}: its num_features is "
            f"{network.num_features}"
        )
        hint = "pool the feature map and flatten it, and set num_features to the width of what comes out"
        if (origin := _foreign(name)) is not None:
            raise PluginError(f"row {row.name!r}: {origin} {what}", hint=hint)
        raise ConfigError(
            f"row {row.name!r}: backbone {name!r} {what}",
            hint="choose a backbone that gives one feature vector an image, or change backbone.args",
        )


def _foreign(name: str) -> str | None:
    """The backbone with its plugin where another than the core brought it."""
    if name not in registry().names("backbone"):
        return None
    component = registry().component("backbone", name)
    return None if component.distribution == CORE else f"{component}"


def check_patch_size(spec: Spec, data: Data) -> None:
    """Refuse patches that are larger both ways than the slices of a volume: there is one place, and part is air."""
    size = spec.predict.patch_size
    used = [data.dataset.cohort[i] for i in (*data.split.train, *data.split.val, *data.split.test)]
    small = [v for v in used if max(v.rows, v.columns) < size]
    if small:
        least = min(small, key=lambda v: v.rows * v.columns)
        fits = min(max(v.rows, v.columns) for v in used)
        raise ConfigError(
            f"predict.patch_size: got {size}, but {len(small):,} of {len(used):,} volumes have slices that are smaller "
            f"both ways, such as {least.rows} x {least.columns} pixels",
            hint=f"set predict.patch_size to at most {fits}; the paper has 448 on slices of 1024 pixels",
        )
