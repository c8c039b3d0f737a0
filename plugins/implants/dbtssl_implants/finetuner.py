"""Fine-tuning from the presence head: as it is, trained on with labels, or the average of both.

With few labels training on is worse than leaving the head alone, and the mean of the two standardised scores is at
least as good as either (the recipe study of this project, on its phantom); with many, the head is a start like others.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import nn

from dbtssl.api import PatchTraining, PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dbtssl.api import Labelled, PatchClassifier, Run


class Presence:
    """A patch classifier that begins as encoder and presence head."""

    class Config(PatchTraining):
        """What becomes of the head, and how it is trained on."""

        use: Literal["head", "finetune", "average"] = Field(
            default="average",
            description="head: as it is, no label is read and no other key; finetune: trained on; average: the mean of "
            "both scores, each standardised by its logits on the validation patches",
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def fit(self, encoder: nn.Module, train: Labelled, val: Labelled, run: Run) -> nn.Module:
        """Train on ``train`` and choose the epoch on ``val``; ``encoder`` is left as it is. With head, neither is read.

        `PluginError` where the pretraining left no head.
        """
        from dbtssl.api import train_classifier, validation_logits
        from dbtssl_implants.finetuner import Average

        c, start = self.config, presence_classifier(encoder, run)
        if c.use == "head":
            return start.eval()
        tuned = train_classifier(copy.deepcopy(start), c, train, val, run)
        if c.use == "finetune":
            return tuned
        logits = [validation_logits(m, val, run, c.val_patches) for m in (start, tuned)]
        both = Average(start, copy.deepcopy(start))
        both.take(start, tuned, logits)
        return both.eval()

    def classifier(self, encoder: nn.Module) -> nn.Module:
        """The untrained network of this setting, into which weights can be loaded."""
        from dbtssl.api import PatchClassifier
        from dbtssl_implants.finetuner import Average

        one = PatchClassifier(encoder)
        return Average(one, copy.deepcopy(one)) if self.config.use == "average" else one


def presence_classifier(encoder: nn.Module, run: Run) -> PatchClassifier:
    """A copy of ``encoder`` with the head that its pretraining left."""
    from dbtssl.api import PatchClassifier

    head: Mapping[str, torch.Tensor] | None = run.head
    if head is None:
        raise PluginError(
            "fine-tuner presence: the pretraining left no head to begin from",
            hint="use it with the objective implants, or another one that has head()",
        )
    model = PatchClassifier(copy.deepcopy(encoder), seed=run.seed)
    model.head.load_state_dict(head)
    return model


class Average(nn.Module):
    """``(B, 1, S, S)`` to ``(B,)``: the mean of ``(logit - mean) / SD`` over both parts."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList([first, second])
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))

    def take(
        self, first: nn.Module, second: nn.Module, logits: Sequence[NDArray[np.float32]]
    ) -> None:
        """Take the weights of both parts over, and mean and SD of their validation logits; an SD of 0 counts as 1."""
        for part, new in zip(self.parts, (first, second), strict=True):
            part.load_state_dict(new.state_dict())
        values = [torch.as_tensor(x, dtype=torch.float64).flatten() for x in logits]
        self.mean.copy_(torch.stack([x.mean() for x in values]))
        spread = torch.stack([x.std(correction=0) for x in values])
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits of ``patches`` on a common scale, in SDs."""
        logits = torch.stack([part(patches) for part in self.parts], dim=1)  # B x 2
        return ((logits - self.mean) / self.spread).mean(dim=1)
