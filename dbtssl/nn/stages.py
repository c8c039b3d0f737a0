"""Stages of an encoder from the input to the head, and learning rates that fall by stage (ULMFiT, section 3.2)."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from timm.models import group_parameters

from dbtssl.errors import PluginError

if TYPE_CHECKING:
    from torch import nn

    from dbtssl.nn.classifier import PatchClassifier

RUNS = 4  # as many as a ResNet has: over 12 blocks, a factor of 2.8 leaves the patch embedding 1.5e-6 of the rate
MOST = 5  # Swin has four stages and its last norm


def stages(encoder: nn.Module) -> list[list[str]]:
    """Names of the encoder's parameters stage by stage, the stem first; each name occurs once.

    Stages are timm's coarse groups: a ResNet has its stem (conv1 and bn1) and layer1 to layer4, five in all. Not
    ``timm.optim.param_groups_layer_decay``, which counts blocks. Of a plain transformer timm's coarse groups are its
    blocks; of more than five, `RUNS` runs of neighbouring blocks are the stages (ours).
    """
    matcher = getattr(encoder, "group_matcher", None)
    if matcher is None:
        raise PluginError(
            f"{type(encoder).__name__} does not say which stages it has: it has no group_matcher",
            hint="give the backbone timm's group_matcher(coarse=True), or fine-tune with strategy full or linear",
        )
    groups = group_parameters(encoder, matcher(coarse=True))
    stem, *rest = (list(groups[k]) for k in sorted(groups))
    if hasattr(encoder, "patch_embed") and len(rest) > MOST:
        cuts = [len(rest) * run // RUNS for run in range(RUNS + 1)]
        rest = [[*chain.from_iterable(rest[a:b])] for a, b in pairwise(cuts)]
    return [stem, *rest]


def discriminative_groups(
    model: PatchClassifier, lr: float, factor: float, weight_decay: float
) -> list[dict[str, Any]]:
    """The optimiser's parameter groups, the head first: ``lr / factor**k`` for stage k counted from the head.

    SIFT-DBT, section 2.3, with factor 2.8. One thing differs from the released code, which gives ``bn1`` of a ResNet
    the rate of layer1 (`utils.py:208`): timm, and so we, give it that of conv1, whose output it normalises.
    """
    parameters = dict(model.encoder.named_parameters())
    from_head = [
        list(model.head.parameters()),
        *([parameters[name] for name in names] for names in reversed(stages(model.encoder))),
    ]
    return [
        {"params": params, "lr": lr / factor**k, "weight_decay": weight_decay}
        for k, params in enumerate(from_head)
    ]
