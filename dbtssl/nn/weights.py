"""Weights from elsewhere into an encoder of one channel: a file, or what timm has for a backbone. Every key must fit.

Three input channels become one by adding up the first convolution's kernels, which gives a grey image the response that
the network had to the same image in all three channels. The network's own normalisation is not folded in: what was
trained on standardised colours sees grey levels in [0, 1].
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import safetensors
import timm
import torch
from safetensors.torch import load_file
from timm.models import adapt_input_conv

from dbtssl.errors import ConfigError, DataError, DbtsslError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torch import nn

State = dict[str, torch.Tensor]
WRAPPERS = ("state_dict", "model")  # keys under which checkpoints of others hold the weights
SHOWN = 5  # names of each kind in a message
IMAGENET = re.compile(r"in(1|12|21|22)k")  # timm's tags of weights trained on ImageNet


def load_weights(encoder: nn.Module, path: Path) -> None:
    """Load ``path`` into ``encoder``, in place; the classifier's weights are left out, all others must fit.

    A `.safetensors` file is read as it is, any other by ``torch.load(weights_only=True)``: no code of the file is run.
    Raises `DataError` for a file that cannot be read, `ConfigError` for names or shapes that do not fit.
    """
    fit(encoder, read_weights(path), str(path))


def load_timm_weights(
    encoder: nn.Module, name: str, args: dict[str, Any], *, imagenet: bool
) -> None:
    """Load timm's weights of the model ``name`` (with its tag, or timm's default) into ``encoder``, in place.

    Raises `ConfigError` where timm has none, or none trained on ImageNet if ``imagenet``, and `DbtsslError` where they
    cannot be fetched.
    """
    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if known is None or not known.has_weights:
        raise ConfigError(
            f"timm has no pretrained weights of backbone {name!r}",
            hint='choose a backbone that has them, or give a file: weights = "PATH.safetensors"',
        )
    if imagenet and not IMAGENET.search(known.tag or ""):
        raise ConfigError(
            f"timm's weights of backbone {name!r} ({known.tag}) were not trained on ImageNet",
            hint='name a tag of timm that was (resnet50.a1_in1k), or set weights = "timm"',
        )
    try:
        full = timm.create_model(name, pretrained=True, **args)
    except Exception as exc:  # of the hub's client, of its transport, of the file system, of timm
        reason = (str(exc).strip().splitlines() or [""])[0]
        raise DbtsslError(
            f"timm's weights of backbone {name!r} cannot be loaded: {type(exc).__name__}: {reason}",
            hint="connect to huggingface.co once, or copy the hub's cache (HF_HOME) from a machine that was; "
            'or give a file: weights = "PATH.safetensors"',
        ) from exc
    fit(encoder, full.state_dict(), f"timm's {name}")


def read_weights(path: Path) -> State:
    """The tensors of a weight file, on the CPU; a checkpoint's ``state_dict`` or ``model`` is taken out of it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, OSError) as exc:
        raise DataError(
            f"{path} cannot be read: {exc}", hint="give a .safetensors file of weights"
        ) from exc
    except Exception as exc:  # torch raises UnpicklingError, RuntimeError, EOFError and others
        raise DataError(
            f"{path} cannot be read as weights alone: {exc}",
            hint="convert it to .safetensors on a machine where you trust it; files with code are not read",
        ) from exc
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(x, torch.Tensor) for x in state.values()):
        raise DataError(
            f"{path} holds no table of tensors", hint="give the state_dict of a network"
        )
    return state


def fit(encoder: nn.Module, state: State, source: str) -> None:
    """Load ``state`` into ``encoder``: classifier dropped, first convolution to one channel, the rest as it is.

    Raises `ConfigError` that lists the names that are missing, left over, or of another shape.
    """
    classifiers = tuple(f"{name}." for name in _names(encoder, "classifier"))
    state = {k: v for k, v in state.items() if not k.startswith(classifiers)}
    own = encoder.state_dict()
    for name in (f"{name}.weight" for name in _names(encoder, "first_conv")):
        if name in state and name in own and state[name].shape != own[name].shape:
            state[name] = adapt_input_conv(1, state[name])
    # absent from files of old versions of torch, and nothing reads it
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    shapes = {
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    }
    wrong = [
        _some("missing", own.keys() - state.keys() - counters),
        _some("unexpected", state.keys() - own.keys()),
        _some("of another shape", shapes),
    ]
    if any(wrong):
        raise ConfigError(
            f"the weights of {source} do not fit the backbone: " + "; ".join(filter(None, wrong)),
            hint="set backbone to the network that they were trained in, with timm's names of its layers",
        )
    encoder.load_state_dict(state, strict=False)


def misfit(own: State, found: State) -> str:
    """Why the weights ``found`` do not fit a network that has ``own``, in a line; empty where they do."""
    both = own.keys() & found.keys()
    shapes = {
        f"{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}"
        for name in both
        if found[name].shape != own[name].shape
    }
    wrong = [
        _some("missing", own.keys() - found.keys()),
        _some("unexpected", found.keys() - own.keys()),
        _some("of another shape", shapes),
    ]
    if not any(wrong):
        return ""
    fits = f"{len(both) - len(shapes)} of its {len(own)} tensors fit"
    return "; ".join(filter(None, [fits, *wrong]))


def _names(encoder: nn.Module, key: str) -> tuple[str, ...]:
    """A layer that timm's configuration of the network names, or several, or none."""
    config: Any = getattr(encoder, "pretrained_cfg", None) or {}
    value = config.get(key) or ()
    return (value,) if isinstance(value, str) else tuple(value)


def _some(what: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    if not ordered:
        return ""
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"{len(ordered)} {what}: {', '.join(ordered[:SHOWN])}{more}"
