"""What decides the future of a fine-tuning run: written after each epoch, read by the next start."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from dbtssl.config import digest
from dbtssl.errors import ConfigError
from dbtssl.evaluation.quantity import EQUAL_DECIMALS
from dbtssl.training.checkpoint import load_checkpoint, save_checkpoint
from dbtssl.training.training_log import append_line, cut_back, length

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import nn

CHECKPOINT, LOG = "finetune.pt", "log.jsonl"


class RunState:
    """Model, optimiser, position and the best weights so far of one run in one folder.

    ``options`` are the plain values that decide the run; with the starting weights and the optimiser's settings they
    are its identity, and the state of another run in the same folder is refused (`ConfigError`). Random numbers need no
    place in it: they come from (seed, epoch, sample).
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        options: Mapping[str, Any],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint, self.log = folder / CHECKPOINT, folder / LOG
        self.model, self.optimizer = model, optimizer
        self.identity = _identity(model, optimizer, options)
        self.epochs = 0
        self.best_auc = -math.inf
        self.best: dict[str, torch.Tensor] = {}
        state = load_checkpoint(self.checkpoint)
        if state is not None:
            self._restore(state)
        cut_back(self.log, 0 if state is None else state["log_bytes"])

    def record(self, loss: float, val_auc: float | None) -> None:
        """End an epoch: keep the weights if they are the best (of equals the earlier), log, and write the state."""
        self.epochs += 1
        if val_auc is not None and round(val_auc, EQUAL_DECIMALS) > self.best_auc:
            self.best_auc = round(val_auc, EQUAL_DECIMALS)
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        append_line(self.log, {"epoch": self.epochs, "loss": loss, "val_auc": val_auc})
        save_checkpoint(
            self.checkpoint,
            {
                "identity": self.identity,
                "epochs": self.epochs,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "best_auc": self.best_auc,
                "best": self.best,
                "log_bytes": length(self.log),
            },
        )

    def finish(self) -> None:
        """Load the best weights into the model; the checkpoint stays until the caller has stored the result."""
        self.model.load_state_dict(self.best)

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["identity"] != self.identity:
            raise ConfigError(
                f"{self.checkpoint} is the state of another fine-tuning: its weights, data or settings differ",
                hint="take another folder, or delete the file to start again",
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epochs, self.best_auc, self.best = (state[k] for k in ("epochs", "best_auc", "best"))


def _identity(
    model: nn.Module, optimizer: torch.optim.Optimizer, options: Mapping[str, Any]
) -> str:
    weights = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().numpy().tobytes())
    groups = [
        {k: v for k, v in group.items() if k != "params"} | {"tensors": len(group["params"])}
        for group in optimizer.param_groups
    ]
    return digest([weights.hexdigest(), type(optimizer).__name__, groups, dict(options)])
