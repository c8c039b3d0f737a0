"""A fine-tuned network before it scores: are its outputs logits, and are they the same once it is loaded again?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from dbtssl.data.records import SliceRef
from dbtssl.interfaces.boundary import calling, described, refused
from dbtssl.patches.fixed_patches import read_patches
from dbtssl.patches.patch_rule import fixed_corners, places

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.patches.patch_rule import PatchRule

PATCHES = 8  # that both networks are shown
CLOSE = 1e-4  # of the largest output; two runs of one network on one processor differ by less
PASSING = (
    "SqueezeBackward",
    "SelectBackward",
    "SliceBackward",
    "ViewBackward",
    "UnsafeViewBackward",
    "ReshapeAliasBackward",
    "ToCopyBackward",
    "CloneBackward",
    "AliasBackward",
    "TBackward",
)
"""Steps of autograd that change no number."""
PROBABILITIES = (
    "SigmoidBackward",
    "SoftmaxBackward",
    "LogSoftmaxBackward",
    "LogSigmoidBackward",
)
LOGITS_HINT = (
    "return logits: leave the last sigmoid or softmax out; of two classes return x[:, 1] - x[:, 0]"
)
STATE_HINT = (
    "keep everything that fit learns in parameters or buffers (register_buffer), and let classifier(encoder) build the "
    "same network untrained"
)


def refuse_network(network: Any, method: str = "fit") -> nn.Module:
    """``network`` itself; `PluginError` where a fine-tuner's ``method`` returned anything else than a network."""
    if not isinstance(network, nn.Module):
        raise refused(
            "finetuner",
            f"{method} returned {described(network)}, expected a network (torch.nn.Module)",
            "return the trained classifier, such as what train_patches returns",
        )
    return network


def check_reloaded(
    network: nn.Module, load: Callable[[], nn.Module], slices: Slices, rule: PatchRule
) -> None:
    """`PluginError` unless ``network`` gives logits ``(B,)``, and what ``load()`` makes of its weights gives the same.

    Both are shown a few patches of validation slices on the CPU, in evaluation mode.
    """
    patches = torch.from_numpy(_some_patches(slices, rule))
    refuse_probabilities(network, patches[:2])
    with torch.no_grad():
        _refuse_others(network, load, patches)


def _refuse_others(
    network: nn.Module, load: Callable[[], nn.Module], patches: torch.Tensor
) -> None:
    first = outputs(network, patches)
    if not torch.isfinite(first).all():
        return  # told by who predicts, with the split
    if not _close(first, outputs(network, patches, seed=1)):
        raise refused(
            "finetuner",
            "the network gives other outputs when it is asked twice, in evaluation mode and for the same patches",
            "use dropout and the like through modules, which eval() switches off",
        )
    again = outputs(load(), patches)
    if not _close(first, again):
        off = float((first - again).abs().max())
        raise refused(
            "finetuner",
            f"the network, saved and loaded again, gives other outputs: up to {off:.3g} apart on {len(patches)} "
            "patches",
            STATE_HINT,
        )


def outputs(network: nn.Module, patches: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Logits of ``patches``, checked; the network is left on the CPU in evaluation mode.

    ``seed`` is of torch's random numbers, which it must not need; they are left as they were.
    """
    network.to("cpu").eval()
    what = f"forward of {type(network).__name__} with patches {tuple(patches.shape)}"
    with calling("finetuner", what), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = network(patches + 0)  # a network may write into its input
    check_logits(found, len(patches))
    logits: torch.Tensor = found.float()
    return logits


def refuse_probabilities(network: nn.Module, patches: torch.Tensor) -> None:
    """`PluginError` where the last step of ``network`` that changes a number is a sigmoid or a softmax."""
    with torch.enable_grad():
        found = outputs(network, patches.clone().requires_grad_())
    if made := _made_by(found):
        raise refused(
            "finetuner",
            f"{type(network).__name__} returns probabilities, not logits: its last step is {made}",
            LOGITS_HINT,
        )


def check_logits(found: Any, count: int) -> None:
    """`PluginError` unless ``found`` is one number for each of ``count`` patches."""
    if isinstance(found, torch.Tensor) and found.shape == (count,) and not found.is_complex():
        return
    hint = "return one logit a patch, shape (B,)"
    if isinstance(found, torch.Tensor) and found.shape == (count, 1):
        hint = "return x[:, 0] or x.squeeze(1)"
    elif isinstance(found, torch.Tensor) and found.shape == (count, 2):
        hint = "return the difference of the two classes, x[:, 1] - x[:, 0]"
    raise refused(
        "finetuner",
        f"the network returned {described(found)} for {count} patches, expected logits of shape ({count},)",
        hint,
    )


def like_probabilities(logits: NDArray[np.float32]) -> str:
    """A sentence where all values look like probabilities, else empty."""
    if not len(logits) or logits.min() < 0 or logits.max() > 1:
        return ""
    if not (logits.min() < 0.5 < logits.max()):
        return ""
    return (
        f"all {len(logits):,} validation outputs of the network lie from {logits.min():.3f} to {logits.max():.3f}, as "
        "probabilities would; they were taken as logits, so that means over patches, calibration and thresholds are "
        "off if they are none"
    )


def _some_patches(slices: Slices, rule: PatchRule) -> NDArray[np.float32]:
    """One patch of the middle slice of a few volumes, ``(n, 1, S, S)``; two at least."""
    cohort, out = slices.cohort, []
    for k in range(PATCHES):
        index = k * len(cohort) // PATCHES
        volume, z = cohort[index], cohort[index].n_slices // 2
        corners = fixed_corners(places(rule, slices.tissue(index)), volume.id, z, 1, seed=k)
        out.append(read_patches(slices, SliceRef(index, z), corners, rule))
    return np.concatenate(out)


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a - b).abs() <= CLOSE * max(1e-3, float(a.abs().max()))).all())


def _made_by(found: torch.Tensor) -> str:
    """``sigmoid`` where that is the last step of ``found`` that changes a number; empty where it is no such step."""
    node: Any = found.grad_fn
    while node is not None:
        name = type(node).__name__.rstrip("0123456789")
        if name in PROBABILITIES:
            return name.removesuffix("Backward").lower()
        if name not in PASSING or not node.next_functions:
            return ""
        node = node.next_functions[0][0]
    return ""
