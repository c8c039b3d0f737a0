"""The training stages of one row: pretrain and finetune. Each is a pure function into a folder."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dbtssl.benchmark.context import stage_label
from dbtssl.benchmark.store import Stage, write_atomic
from dbtssl.config import result_fields
from dbtssl.data.arrays import write_bytes
from dbtssl.errors import PluginError
from dbtssl.interfaces import BuildsClassifier, HasHead, HasPlace, Run
from dbtssl.interfaces.abilities import able
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch
    from torch import nn

    from dbtssl.benchmark.context import Context
    from dbtssl.benchmark.rows import Row
    from dbtssl.benchmark.store import Output

PRETRAIN_VERSION, FINETUNE_VERSION = 2, 3
ENCODER, CLASSIFIER = "encoder.safetensors", "classifier.safetensors"
HEAD, PLACE = "head.safetensors", "place.safetensors"  # of objectives that have head() and place()
PRETRAIN_CHECKPOINT, FINETUNE_CHECKPOINT = "checkpoint.pt", "finetune.pt"


def pretrain_stage(ctx: Context, row: Row, seed: int) -> Stage:
    """Self-supervised pretraining on the training patients; no label is trained on."""
    objective_part, sampler_part, config = row.objective, row.sampler, row.pretrain
    if objective_part is None or sampler_part is None or config is None:
        raise ValueError(f"row {row.name} does no pretraining")
    learnt = registry().load("objective", objective_part.name)
    beside = [f for f, ability in ((HEAD, HasHead), (PLACE, HasPlace)) if able(learnt, ability)]

    def run(folder: Path) -> None:
        from dbtssl.training.pretrain import PretrainConfig, pretrain

        assert isinstance(config, PretrainConfig)
        encoder = new_encoder(row, seed)
        if row.initial is not None:
            row.initial.load(encoder, row.backbone)
        with _seeded(seed):  # heads and queue
            objective = objective_part.build(encoder)
        result = pretrain(
            objective,
            sampler_part.build(),
            ctx.data.dataset.slices(ctx.data.split.train),
            config,
            seed=seed,
            folder=folder,
            accelerator=ctx.spec.run.accelerator,
            workers=ctx.spec.run.workers,
            monitor=ctx.monitor(f"{row.name}, seed {seed}"),
        )
        _save(objective.encoder(), folder / ENCODER)
        if able(objective, HasHead):
            _save(objective.head(), folder / HEAD)
        if able(objective, HasPlace):
            _save(objective.place(), folder / PLACE)
        _write_json(folder / "result.json", {"epochs": result.epochs, "steps": result.steps})

    return Stage(
        name="pretrain",
        label=f"{row.name}, seed {seed}",
        version=PRETRAIN_VERSION,
        config={
            "backbone": backbone_key(row),
            "objective": objective_part.key(),
            "sampler": sampler_part.key(),
            "pretrain": result_fields(config),
            "seed": seed,
        },
        parents=ctx.data.key(),
        outputs=(ENCODER, *beside, "result.json"),
        run=run,
        scratch=(PRETRAIN_CHECKPOINT,),
    )


def finetune_stage(ctx: Context, row: Row, seed: int, pretrained: Output | None) -> Stage:
    """From encoder and labelled patients to a patch classifier, chosen on validation."""
    budget = ctx.budget(seed)
    as_released = ctx.spec.rules.fine_tuning == "as-released"

    def run(folder: Path) -> None:
        encoder = start_encoder(row, seed, pretrained)
        head = None if pretrained is None else _head(pretrained.folder / HEAD)
        with _seeded(seed):
            finetuner = row.finetuner.build()
        classifier = finetuner.fit(
            encoder,
            ctx.labelled(ctx.fine_tuned_on("train", budget.volumes)),
            ctx.labelled(ctx.fine_tuned_on("val", ctx.data.split.val)),
            Run(
                seed=seed,
                patches=ctx.rule,
                folder=folder,
                accelerator=ctx.spec.run.accelerator,
                workers=ctx.spec.run.workers,
                head=head,
                as_released=as_released,
            ),
        )
        _save(classifier, folder / CLASSIFIER)

    return Stage(
        name="finetune",
        label=stage_label(ctx.spec, f"{row.name}, seed {seed}"),
        version=FINETUNE_VERSION,
        config={
            "backbone": backbone_key(row),
            "finetuner": row.finetuner.key(),
            "patches": {"size": ctx.rule.size, "min_tissue": ctx.rule.min_tissue},
            "labels": ctx.label_key(),
            "seed": seed,
        }
        | ({"labelled": budget.digest} if budget.digest else {})
        | ({"fine_tuning": "as-released"} if as_released else {}),
        parents=ctx.data.key() | ({"pretrain": pretrained.content} if pretrained else {}),
        outputs=(CLASSIFIER,),
        run=run,
        scratch=(FINETUNE_CHECKPOINT,),
    )


def backbone_key(row: Row) -> dict[str, Any]:
    """The encoder and the weights that it begins with; random ones follow from the seed."""
    name, door = row.backbone.name, registry()
    registered = name in door.names("backbone")
    code = door.component("backbone", name).fingerprint() if registered else ""
    key = {"name": name, "args": row.backbone.args, "code": code}
    return key if row.initial is None else key | {"initial": row.initial.key()}


def new_encoder(row: Row, seed: int) -> nn.Module:
    """The row's encoder with weights that the seed alone decides."""
    from dbtssl.nn.backbones import create_encoder

    with _seeded(seed):
        return create_encoder(row.backbone.name, **row.backbone.args)


def start_encoder(row: Row, seed: int, pretrained: Output | None) -> nn.Module:
    """The encoder before fine-tuning: pretrained, or with the row's initial weights, or random ones of ``seed``."""
    encoder = new_encoder(row, seed)
    if pretrained is not None:
        load_weights(encoder, pretrained.folder / ENCODER, row.name)
    elif row.initial is not None:
        row.initial.load(encoder, row.backbone)
    return encoder


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers on the CPU from ``seed``, and as they were afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _save(module: nn.Module, path: Path) -> None:
    """Weights as safetensors, through our own writer: theirs hides a full disk in an error of its own."""
    from safetensors.torch import save

    state = module.state_dict()
    write_bytes(path, save({k: v.detach().cpu().contiguous().clone() for k, v in state.items()}))


def load_weights(module: nn.Module, path: Path, row: str) -> None:
    """Load what a stage has saved; `PluginError` where it does not fit."""
    from safetensors.torch import load_file

    try:
        module.load_state_dict(load_file(path))
    except RuntimeError as exc:
        raise PluginError(
            f"row {row!r}: the weights in {path.name} do not fit the network they are loaded into: {exc}",
            hint="encoder() must return a network of the backbone's own shape",
        ) from None


def fine_tuned(row: Row, seed: int, folder: Path) -> nn.Module:
    """The network that the fine-tune stage of ``row`` left in ``folder``; `PluginError` where it does not fit."""
    from dbtssl.nn.classifier import PatchClassifier

    finetuner = row.finetuner.build()
    build = finetuner.classifier if able(finetuner, BuildsClassifier) else PatchClassifier
    network: nn.Module = build(new_encoder(row, seed))
    load_weights(network, folder / CLASSIFIER, row.name)
    return network


def _head(path: Path) -> dict[str, torch.Tensor] | None:
    """The logit that the objective learnt without labels; None where it has none."""
    from safetensors.torch import load_file

    return load_file(path) if path.is_file() else None


def _write_json(path: Path, data: Any) -> None:
    write_atomic(path, json.dumps(data, sort_keys=True) + "\n")
