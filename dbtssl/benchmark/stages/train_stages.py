"""The training stages of one row: pretrain and finetune. Each is a pure function into a folder."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from dbtssl.benchmark.stages.context import stage_label
from dbtssl.benchmark.stages.row_warnings import WARNINGS, write_warnings
from dbtssl.config import result_fields
from dbtssl.engine.store import Stage
from dbtssl.interfaces import BuildsClassifier, HasHead, HasPlace, Run
from dbtssl.interfaces.abilities import able
from dbtssl.interfaces.boundary import calling, refused
from dbtssl.io import write_bytes, write_text
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch
    from torch import nn

    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.stages.context import Context
    from dbtssl.engine.store import Output

PRETRAIN_VERSION, FINETUNE_VERSION = 3, 4
ENCODER, CLASSIFIER = "encoder.safetensors", "classifier.safetensors"
HEAD, PLACE = "head.safetensors", "place.safetensors"  # of objectives that have head() and place()
PRETRAIN_CHECKPOINT, FINETUNE_CHECKPOINT = "checkpoint.pt", "finetune.pt"
FIT_ENCODER = "encoder() must return a network of the backbone's own shape"
FIT_CLASSIFIER = (
    "fit must return a PatchClassifier, or the fine-tuner has a method classifier(encoder) that builds the network "
    "that fit returns, untrained"
)


def pretrain_stage(ctx: Context, row: Row, seed: int) -> Stage:
    """Self-supervised pretraining on the training patients; no label is trained on."""
    objective_part, sampler_part, config = row.objective, row.sampler, row.pretrain
    if objective_part is None or sampler_part is None or config is None:
        raise ValueError(f"row {row.name} does no pretraining")
    learnt = registry().load("objective", objective_part.name)
    beside = [f for f, ability in ((HEAD, HasHead), (PLACE, HasPlace)) if able(learnt, ability)]

    def run(folder: Path) -> None:
        from dbtssl.training.pretraining.kept_encoder import (
            kept_encoder,
            refuse_not_finite,
            unmoved,
        )
        from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

        assert isinstance(config, PretrainConfig)
        encoder = new_encoder(row, seed)
        if row.initial is not None:
            row.initial.load(encoder, row.backbone)
        before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        with _seeded(seed):  # heads and queue
            objective = objective_part.build(encoder)
            kept_encoder(objective, before, "before the first step")
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
        kept = kept_encoder(objective, before, "after the last step")
        refuse_not_finite(kept)
        _save(kept, folder / ENCODER)
        with calling("objective", "head() and place()"):
            if able(objective, HasHead):
                _save(objective.head(), folder / HEAD)
            if able(objective, HasPlace):
                _save(objective.place(), folder / PLACE)
        _write_json(folder / "result.json", {"epochs": result.epochs, "steps": result.steps})
        still = unmoved(kept, before, result.epochs)
        write_warnings(folder, (still, *result.warnings))

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
        outputs=(ENCODER, *beside, "result.json", WARNINGS),
        run=run,
        scratch=(PRETRAIN_CHECKPOINT,),
    )


def finetune_stage(ctx: Context, row: Row, seed: int, pretrained: Output | None) -> Stage:
    """From encoder and labelled patients to a patch classifier, chosen on validation."""
    budget = ctx.budget(seed)
    as_released = ctx.spec.rules.fine_tuning == "as-released"

    def run(folder: Path) -> None:
        from dbtssl.inference.network_checks import check_reloaded, refuse_network

        encoder = start_encoder(row, seed, pretrained)
        head = None if pretrained is None else _head(pretrained.folder / HEAD)
        with _seeded(seed):
            finetuner = row.finetuner.build()
        train = ctx.labelled(ctx.fine_tuned_on("train", budget.volumes))
        val = ctx.labelled(ctx.fine_tuned_on("val", ctx.data.split.val))
        settings = Run(
            seed=seed,
            patches=ctx.rule,
            folder=folder,
            accelerator=ctx.spec.run.accelerator,
            workers=ctx.spec.run.workers,
            head=head,
            as_released=as_released,
        )
        with calling("finetuner", f"fit on {len(train.slices.cohort)} training volumes"):
            found = finetuner.fit(encoder, train, val, settings)
        classifier = refuse_network(found)
        _save(classifier, folder / CLASSIFIER)
        check_reloaded(classifier, partial(fine_tuned, row, seed, folder), val.slices, ctx.rule)

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
    name, known = row.backbone.name, registry()
    registered = name in known.names("backbone")
    code = known.component("backbone", name).fingerprint() if registered else ""
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


def load_weights(
    module: nn.Module, path: Path, row: str, hint: str = FIT_ENCODER, component: str = "objective"
) -> None:
    """Load what a stage has saved of a row's component; `PluginError` with ``hint`` where it does not fit."""
    from safetensors.torch import load_file

    from dbtssl.nn.weights import misfit

    state = load_file(path)
    if wrong := misfit(module.state_dict(), state):
        raise refused(
            component,
            f"row {row!r}: the weights in {path.name} do not fit {type(module).__name__}, into which they are loaded: "
            f"{wrong}",
            hint,
        )
    module.load_state_dict(state)


def fine_tuned(row: Row, seed: int, folder: Path) -> nn.Module:
    """The network that the fine-tune stage of ``row`` left in ``folder``; `PluginError` where it does not fit."""
    from dbtssl.inference.network_checks import refuse_network
    from dbtssl.nn.classifier import PatchClassifier

    finetuner = row.finetuner.build()
    build = finetuner.classifier if able(finetuner, BuildsClassifier) else PatchClassifier
    encoder = new_encoder(row, seed)
    with calling("finetuner", "classifier(encoder)"):
        network = refuse_network(build(encoder), "classifier")
    load_weights(network, folder / CLASSIFIER, row.name, FIT_CLASSIFIER, "finetuner")
    return network


def _head(path: Path) -> dict[str, torch.Tensor] | None:
    """The logit that the objective learnt without labels; None where it has none."""
    from safetensors.torch import load_file

    return load_file(path) if path.is_file() else None


def _write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, sort_keys=True) + "\n")
