"""Measure the encoder while it is pretrained: a line in ``monitors.jsonl``, a plot, and events for TensorBoard.

The training is not touched: a copy of the encoder is looked at, in evaluation mode and float32, and no global random
number is drawn. Line and plot are written before the checkpoint of their step, and the log is cut back to the
checkpoint, so that a run that resumes has the log of one that never stopped.
"""

from __future__ import annotations

import time
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from dbtssl.evaluation.probes.representation import (
    NOT_FINITE,
    Measure,
    cross_view_recall,
    knn_auc,
    null_sd,
    probe_auc,
    same_patient_top1,
)
from dbtssl.inference.predict import BATCH_PIXELS
from dbtssl.nn.collapse import rankme
from dbtssl.patches.monitor_patches import (
    PlacedPatches,
    chosen_volumes,
    labelled_patches,
    spread_patches,
)
from dbtssl.progress import say
from dbtssl.training.monitors.monitor_config import EVENTS, MONITORS, PLOT
from dbtssl.training.monitors.monitor_plot import plot
from dbtssl.training.training_log import append_line, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from dbtssl.interfaces import Objective
    from dbtssl.training.monitors.monitor_config import Monitor

PLOT_EVERY = 60.0  # seconds between two drawings of the plot; the last measurement always draws
RANKED = 2048  # patches that RankMe is computed from, at most: its cost grows with their square
NAMES = {
    "knn_auc": "kNN AUC",
    "probe_auc": "probe AUC",
    "recall@1": "recall@1",
    "recall@10": "recall@10",
    "same_patient": "same patient",
    "rankme": "RankMe",
}


class MonitorRunner:
    """The monitors of one run, in the process that writes; ``log`` is the training's own log, read for the plot."""

    def __init__(self, monitor: Monitor, folder: Path, log: Path, device: torch.device) -> None:
        self.monitor, self.folder, self.log, self.device = monitor, folder, log, device
        self.drawn = time.monotonic()
        if monitor.config.tensorboard:
            from dbtssl.training.monitors.tensorboard_log import TensorBoardLog

            self.events: TensorBoardLog | None = TensorBoardLog(folder / EVENTS)
        else:
            self.events = None

    def due(self, epoch: int, last: bool) -> bool:
        """Whether ``epoch`` (from 0, before the first step) is measured."""
        return last or epoch % self.monitor.config.every == 0

    def look(self, objective: Objective, epoch: int, step: int, last: bool) -> None:
        """Measure the encoder that ``objective`` would give back now."""
        begun = time.monotonic()
        encoder = deepcopy(objective.encoder()).to(self.device)
        line = {"epoch": epoch, "step": step, **self._measure(encoder)}
        append_line(self.folder / MONITORS, {**line, "seconds": round(time.monotonic() - begun, 2)})
        if last or time.monotonic() - self.drawn >= PLOT_EVERY:
            plot(self.log, self.folder / MONITORS, self.folder / PLOT, self.monitor.name)
            self.drawn = time.monotonic()
        if self.events is not None:
            self.events.update(read_lines(self.log), read_lines(self.folder / MONITORS))
        if last:
            say(f"{self.monitor.name}: {summary(line)}")

    @cached_property
    def _patches(self) -> tuple[PlacedPatches, PlacedPatches, NDArray[np.bool_]]:
        slices, rule, config = self.monitor.slices, self.monitor.rule, self.monitor.config
        volumes = chosen_volumes(slices.cohort, config.patients)
        spread = spread_patches(slices, rule, volumes, config.slices, config.patches)
        return spread, *labelled_patches(slices, rule, volumes, config.patches)

    def _measure(self, encoder: nn.Module) -> dict[str, Any]:
        spread, labelled, abnormal = self._patches
        cohort, config = self.monitor.slices.cohort, self.monitor.config
        z = features(encoder, spread, self.device)  # N x D
        volumes, mean = spread.volume_means(z)
        breasts, patients = cohort.breast_ids[volumes], cohort.patient_ids[volumes]
        mlo = np.array([cohort[int(i)].projection == "mlo" for i in volumes])
        shown = features(encoder, labelled, self.device)
        owner = cohort.patient_ids[labelled.volumes]
        measures = {
            "knn_auc": knn_auc(shown, abnormal, owner, config.neighbours),
            "probe_auc": probe_auc(shown, abnormal, owner, config.label_budget),
            "recall@1": cross_view_recall(mean, breasts, mlo, 1),
            "recall@10": cross_view_recall(mean, breasts, mlo, 10),
            "same_patient": same_patient_top1(mean, breasts, patients),
            "rankme": effective_rank(z),
        }
        positive = len(np.unique(owner[abnormal]))
        negative = len(np.unique(owner)) - positive
        return {
            **{name: _rounded(m.value) for name, m in measures.items()},
            "chance": {
                name: _rounded(m.chance) for name, m in measures.items() if m.chance is not None
            },
            "auc_chance_sd": _rounded(null_sd(positive, negative))
            if positive and negative
            else None,
            "rankme_most": min(len(z), RANKED, z.shape[1]),
            "missing": {name: m.reason for name, m in measures.items() if m.reason},
            "patients_with_lesion": positive,
            "patients_without": negative,
            "volumes": len(volumes),
            "patches": len(z) + len(shown),
        }


def features(
    encoder: nn.Module, patches: PlacedPatches, device: torch.device | str
) -> NDArray[np.float32]:
    """Features of every patch, ``(n, D)`` float32; the encoder is left in evaluation mode."""
    encoder.to(memory_format=torch.channels_last).eval()
    batches: DataLoader[NDArray[np.float32]] = DataLoader(
        patches,
        batch_size=max(1, BATCH_PIXELS // patches.rule.size**2),
        generator=torch.Generator(),  # else the loader moves the global random state
    )
    with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
        out = [encoder(batch.to(device)).float().cpu().numpy() for batch in batches]
    return np.concatenate(out) if out else np.zeros((0, 1), dtype=np.float32)


def effective_rank(z: NDArray[np.float32]) -> Measure:
    """`rankme` of the features ``(n, D)``, of at most `RANKED` of them, evenly spaced."""
    some = z[np.linspace(0, len(z) - 1, min(len(z), RANKED)).astype(int)]
    if not np.isfinite(some).all():
        return Measure(reason=NOT_FINITE)
    if not some.any():
        return Measure(reason="all features are 0")
    return Measure(float(rankme(torch.from_numpy(some))))


def summary(line: dict[str, Any]) -> str:
    """A measurement in one line."""
    parts = []
    for name, title in NAMES.items():
        value, chance = line[name], line["chance"].get(name)
        text = "none" if value is None else f"{value:.3g}" if name == "rankme" else f"{value:.2f}"
        if name == "rankme":
            text += f" of {line['rankme_most']}"
        elif value is not None:
            text += f" (chance {chance:.2f})"
        parts.append(f"{title} {text}")
    return f"epoch {line['epoch']}: {', '.join(parts)}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
