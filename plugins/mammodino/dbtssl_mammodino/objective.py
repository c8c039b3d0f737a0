"""DINOv2 (Oquab et al., arXiv:2304.07193) on tissue, with a term between adjacent slices, after MammoDINO.

Zhou et al., MammoDINO, arXiv:2510.11883 (ICASSP 2026), names the parts: image-level and patch-level losses aware of
breast tissue, and a loss between adjacent slices of a volume. It publishes neither code nor settings, so this is no
reproduction; the plugin's README lists which choices are ours. DINOv2's parts follow facebookresearch/dinov2, with
centring (its short schedule) and a patch head of its own (its long one).
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from dbtssl.api import (
    MomentumTeacher,
    Step,
    cosine_momentum,
    feature_std,
    full_precision,
    one_vector,
    prototype_head,
    rankme,
    softmax_entropy,
    warmed_up,
)
from dbtssl_mammodino.config import CROSS, GLOBAL, MammoDINOConfig, make_views
from dbtssl_mammodino.losses import (
    Center,
    Contrast,
    consistency,
    counted_patches,
    counted_rows,
    information,
    koleo,
    patch_loss,
)
from dbtssl_mammodino.masks import block_masks, targets, tissue_patches
from dbtssl_mammodino.network import (
    Features,
    Network,
    check_shapes,
    contrast_head,
    patch_size,
    prepare,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.api import Batch


JUDGED_FROM = (
    0.1  # share of the training after which a collapse is one: new networks are all alike at first
)


class MammoDINO(nn.Module):
    """Student and momentum teacher over large and small crops of a slice, and a large crop of a slice near by.

    ``encoder`` is a timm vision transformer; it is set in place to take any size of image. The student sees its large
    views masked, the teacher whole. What is kept is the teacher's encoder.
    """

    Config = MammoDINOConfig

    def __init__(self, encoder: nn.Module, config: MammoDINOConfig) -> None:
        super().__init__()
        from lightly.loss import DINOLoss

        self.config = c = config
        self.views = make_views(c)
        vit = prepare(encoder)
        check_shapes(vit, self.views)
        self.patches = c.ibot_weight > 0 or c.cross_slice == "dense"
        width, shape = vit.num_features, (c.hidden, c.bottleneck)
        heads = {
            "image": prototype_head(width, *shape, c.prototypes, norm_last_layer=c.norm_last_layer)
        }
        if self.patches:
            wide = (*shape, c.patch_prototypes)
            heads["patch"] = prototype_head(vit.embed_dim, *wide, norm_last_layer=c.norm_last_layer)
        if c.cross_slice == "contrastive":
            heads["contrast"] = contrast_head(width, c.contrast_dim)
            self.contrast = Contrast(
                c.contrast_dim, c.queue_size, c.contrast_temp, c.exclude_negatives
            )
        self.student = Network(vit, heads)
        self.teacher = MomentumTeacher(self.student)
        self.image_loss = DINOLoss(
            c.prototypes, student_temp=c.student_temp, center_momentum=c.center_momentum
        )
        self.patch_center = Center(c.patch_prototypes, c.center_momentum) if self.patches else None
        self.progress = 0.0
        for name in ("image", "patch"):
            for parameter in getattr(heads.get(name), "last_layer", nn.Identity()).parameters():
                if parameter.requires_grad:
                    parameter.register_hook(self._thaw)

    def train(self, mode: bool = True) -> Self:
        """Training mode, for all but the teacher: it has no drop path."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch) -> Step:
        """The weighted sum of the terms; the centres and the queue then take in what the teacher said."""
        c, n = self.config, len(batch.views[0])
        tissue, masks = self._masks(batch)
        large = len(masks)
        # the positive's view: the contrastive term needs the teacher's key alone
        shown = GLOBAL if c.cross_slice == "contrastive" else large
        teacher: Features = self.teacher(torch.cat(batch.views[:large]))
        student: Features = self.student(torch.cat(batch.views[:shown]), torch.cat(masks[:shown]))
        logits = list(self.student.project("image", student.image).chunk(shown))
        known = list(self._teach("image", teacher.image).chunk(large))
        local = self._local(batch.views[large:])
        temperature = self.temperature_at(self.progress)
        temps = (temperature, c.student_temp)
        with full_precision(student.image):
            center = self.image_loss.center[0, 0].clone()
            expected = ((torch.cat(known[:GLOBAL]) - center) / temperature).detach()
            terms = {
                "dino": self.image_loss(
                    known[:GLOBAL], logits[:GLOBAL] + local, teacher_temp=temperature
                )
            }
            weights = {"dino": c.dino_weight}
            if c.koleo_weight:
                terms["koleo"] = sum(koleo(x) for x in student.image[: GLOBAL * n].chunk(GLOBAL))
                weights["koleo"] = c.koleo_weight
            if self.patch_center is not None:
                terms |= self._patch_terms(batch, teacher, student, tissue, masks, temps)
                weights |= {"ibot": c.ibot_weight, "dense": c.cross_weight}
            if c.cross_slice == "consistency":
                terms["consistency"] = consistency(
                    (known[0], known[CROSS]), (logits[0], logits[CROSS]), center, *temps
                )
            if c.cross_slice == "contrastive":
                query = self.student.project("contrast", student.image[:n])
                key = self._teach("contrast", teacher.image[CROSS * n :])
                terms["contrastive"] = self.contrast(query, key, batch)
            loss = sum(weights.get(name, c.cross_weight) * term for name, term in terms.items())
        seen = torch.cat(tissue[:GLOBAL]).sum()
        logs = {
            **{name: term.detach() for name, term in terms.items()},
            "masked": torch.cat(masks[:GLOBAL]).sum() / seen.clamp_min(1),
            "teacher_entropy": softmax_entropy(expected),
            "teacher_information": information(expected),
            "feature_std": feature_std(teacher.image[:n]),
            "rankme": rankme(teacher.image[:n]),
        }
        return Step(loss, logs)

    def after_step(self, progress: float) -> None:
        """Move the teacher; the temperature of the next step follows ``progress``."""
        self.progress = progress
        self.teacher.update(self.student, cosine_momentum(self.config.momentum, progress))

    def temperature_at(self, progress: float) -> float:
        """The teacher's temperature; ``progress`` runs from 0 to 1."""
        c = self.config
        return warmed_up(c.warmup_teacher_temp, c.teacher_temp, c.warmup, progress)

    def collapsed(self, means: Mapping[str, float]) -> str:
        """What has collapsed by the epoch's means, in one sentence; the first tenth of the training is not judged."""
        if self.progress < JUDGED_FROM:
            return ""
        return collapse(means, self.config.prototypes, self.student.encoder.num_features)

    def encoder(self) -> nn.Module:
        """A trainable copy of the teacher's encoder, which DINOv2 evaluates."""
        encoder: nn.Module = deepcopy(self.teacher.module.encoder)  # type: ignore[assignment]
        return encoder.requires_grad_(True)

    def get_extra_state(self) -> torch.Tensor:
        """Progress, on which the next step's temperature depends."""
        return torch.tensor(self.progress, dtype=torch.float64)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Go on from `get_extra_state`."""
        self.progress = float(state)

    def _masks(self, batch: Batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Tissue and masked patches of each large view, ``(B, h, w)``; nothing is masked without a patch head."""
        c, patch = self.config, patch_size(self.student.encoder)
        large = GLOBAL + (c.cross_slice != "none")
        tissue = [tissue_patches(x, patch, c.tissue_patch) for x in batch.tissue[:large]]
        if self.patch_center is None:
            return tissue, [torch.zeros_like(x) for x in tissue]
        masks = []
        for x, seeds in zip(tissue, batch.needed("seeds")[:large], strict=True):
            target = targets(x, seeds, c.mask_probability, c.mask_ratio, c.min_visible)
            masks.append(block_masks(x, target, seeds))
        return tissue, masks

    def _local(self, views: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """The student's image logits of each small view."""
        if not views:
            return []
        features: Features = self.student(torch.cat(views))
        return list(self.student.project("image", features.image).chunk(len(views)))

    @torch.no_grad()
    def _teach(self, head: str, features: torch.Tensor) -> torch.Tensor:
        network: Any = self.teacher.module
        out: torch.Tensor = network.project(head, features)
        return out

    def _patch_terms(
        self,
        batch: Batch,
        teacher: Features,
        student: Features,
        tissue: list[torch.Tensor],
        masks: list[torch.Tensor],
        temps: tuple[float, float],
    ) -> dict[str, torch.Tensor]:
        """iBOT's loss over masked patches, and ``dense`` over tissue patches of two slices; one centre for both."""
        c, n = self.config, len(batch.views[0])
        assert self.patch_center is not None
        center = self.patch_center.value.clone()
        terms: dict[str, torch.Tensor] = {}
        said: list[torch.Tensor] = []

        def term(
            name: str,
            of_teacher: torch.Tensor,
            of_student: torch.Tensor,
            counted: torch.Tensor,
            images: torch.Tensor | int,
        ) -> None:
            known = self._teach("patch", of_teacher[counted])
            logits = self.student.project("patch", of_student[counted])
            terms[name] = patch_loss(known, logits, counted, center, *temps, images)
            said.append(known)

        if c.ibot_weight:
            hidden = torch.cat(masks[:GLOBAL]).flatten(1)
            both = slice(GLOBAL * n)
            term("ibot", teacher.patches[both], student.patches[both], hidden, GLOBAL * n)
        if c.cross_slice == "dense":
            counted = counted_patches(batch, tissue[0], tissue[CROSS])
            there, back = slice(n), slice(CROSS * n, None)
            term(
                "dense",
                torch.cat([teacher.patches[there], teacher.patches[back]]),
                torch.cat([student.patches[back], student.patches[there]]),
                torch.cat([counted, counted]),
                2 * counted_rows(counted),
            )
        self.patch_center.update(torch.cat(said))
        return terms

    def _thaw(self, gradient: torch.Tensor) -> torch.Tensor:
        frozen = self.progress < self.config.freeze_last_layer
        return torch.zeros_like(gradient) if frozen else gradient


def collapse(means: Mapping[str, float], prototypes: int, width: int) -> str:
    """One sentence where the epoch's ``means`` of the log show a collapse, else empty.

    It is judged by the teacher's ``width`` features, which are what is kept. DINO collapses to one prototype or to all
    alike (its section 5.3); either way its distributions tell nothing of the image, and its entropy says which way.
    KoLeo can hold the features apart all the same, and new networks tell as little, so that this alone is no verdict.
    """
    what = one_vector(means["feature_std"], width)
    if not what:
        return ""
    told, entropy = max(means["teacher_information"], 0.0), means["teacher_entropy"]
    return (
        f"{what}; RankMe is {means['rankme']:.2f}, and the teacher's prototypes tell {told:.1g} nats of the image, "
        f"with an entropy of {entropy:.2f} of at most {math.log(prototypes):.2f}"
    )
