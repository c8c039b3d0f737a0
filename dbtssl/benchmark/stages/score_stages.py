"""The stages that score a row: predict and score. The core alone does both; no plugin sees the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dbtssl.benchmark.inputs.open_dataset import published_subset
from dbtssl.benchmark.resolve import AGGREGATORS, aggregator
from dbtssl.benchmark.stages.context import stage_label
from dbtssl.benchmark.stages.row_warnings import WARNINGS, write_warnings
from dbtssl.benchmark.stages.train_stages import backbone_key, fine_tuned
from dbtssl.config import digest
from dbtssl.engine.store import Stage
from dbtssl.errors import TrainingError
from dbtssl.evaluation.predictions.evaluation_sets import SUB5
from dbtssl.evaluation.values import Score
from dbtssl.interfaces.abilities import Trainable, able
from dbtssl.interfaces.boundary import marked
from dbtssl.io import write_bytes, write_text
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.benchmark.stages.context import Context
    from dbtssl.engine.store import Output
    from dbtssl.inference.predict import FeaturesOf, Inference

PREDICT_VERSION, SCORE_VERSION = 3, 7
LEARNED = "aggregators.safetensors"


def predict_stage(ctx: Context, row: Row, seed: int, finetuned: Output) -> Stage:
    """Logits of every patch of the validation and test slices; of the training slices where an aggregator learns."""
    where = _where(ctx.spec)
    features, learns = _asked(ctx.spec)
    names = ("train", "val", "test") if learns else ("val", "test")
    budget = ctx.budget(seed)  # an aggregator that learns reads labels too
    volumes = {"train": budget.volumes, "val": ctx.data.split.val, "test": ctx.data.split.test}

    def run(folder: Path) -> None:
        from dbtssl.inference.network_checks import like_probabilities
        from dbtssl.inference.predict import predict

        classifier = fine_tuned(row, seed, finetuned.folder)
        for name in names:
            path = folder / f"{name}.parquet"
            if path.is_file():  # of an interrupted run
                continue
            table = predict(
                classifier,
                ctx.labelled(volumes[name]),
                ctx.rule,
                **where,
                features=features,
                split=name,
                phantom=ctx.data.dataset.phantom,
                accelerator=ctx.spec.run.accelerator,
                what=f"predict {row.name} {name}",
            )
            _refuse_not_finite(table, name)
            buffer = pa.BufferOutputStream()
            pq.write_table(table, buffer, compression="zstd")
            write_bytes(path, buffer.getvalue().to_pybytes())
        logits = pq.read_table(folder / "val.parquet", columns=["logits"])["logits"]
        values = pc.list_flatten(logits).to_numpy()
        write_warnings(folder, [like_probabilities(values)])

    return Stage(
        name="predict",
        label=stage_label(ctx.spec, f"{row.name}, seed {seed}"),
        version=PREDICT_VERSION,
        config={
            "backbone": backbone_key(row),
            "finetuner": row.finetuner.key(),
            "patches": {**where, "size": ctx.rule.size, "min_tissue": ctx.rule.min_tissue},
            "features": features,
            "splits": list(names),
            "labels": ctx.label_key(),
        }
        | ({"labelled": budget.digest} if learns and budget.digest else {}),
        parents=ctx.data.key() | {"finetune": finetuned.content},
        outputs=(*(f"{name}.parquet" for name in names), WARNINGS),
        run=run,
    )


def score_stage(ctx: Context, row: Row, seed: int, predicted: Output) -> Stage:
    """Every number of the row's table lines, from its predictions alone."""
    chosen = ctx.spec.rules
    patch, slice_, breast, patient = (aggregator(ctx.spec, place) for place in AGGREGATORS)
    _, learns = _asked(ctx.spec)
    subsets = _subsets(ctx)

    def run(folder: Path) -> None:
        from dbtssl.evaluation.aggregation.trainable import fit, save_state
        from dbtssl.evaluation.predictions.prediction_table import read_predictions
        from dbtssl.evaluation.score import prepared, score

        test, val, train = (
            prepared(read_predictions(predicted.folder / f"{name}.parquet"), name, chosen)
            if name != "train" or learns
            else None
            for name in ("test", "val", "train")
        )
        assert test is not None
        of_patches, of_slices = patch.build(), slice_.build()
        fit(of_patches, of_slices, train, val)
        if learns:
            write_bytes(folder / LEARNED, save_state(of_patches, of_slices))
        result = score(
            test,
            val,
            chosen,
            of_patches,
            of_slices,
            breast_aggregator=breast.build(),
            patient_aggregator=patient.build(),
            subsets=subsets,
            go_on=True,
        )
        write_text(folder / "score.json", result.to_json())

    return Stage(
        name="score",
        label=stage_label(ctx.spec, f"{row.name}, seed {seed}"),
        version=SCORE_VERSION,
        config={
            "protocol": chosen.rules,
            "aggregators": {
                "patch": patch.key(),
                "slice": slice_.key(),
                "breast": breast.key(),
                "patient": patient.key(),
            },
            "subsets": {name: digest(sorted(ids)) for name, ids in subsets.items()},
        },
        parents={"predict": predicted.content},
        outputs=("score.json", LEARNED) if learns else ("score.json",),
        run=run,
    )


def read_score(folder: Path) -> Score:
    """What a score stage left in ``folder``."""
    return Score.from_json((folder / "score.json").read_text(encoding="utf-8"))


def _where(spec: Spec) -> dict[str, Any]:
    """What decides the places of patches: the arguments of `predict`."""
    patches = spec.predict
    inference: Inference = patches.inference
    if spec.rules.test_patches == "oracle":
        inference = "oracle"
    every = {"every": patches.every} if patches.every > 1 else {}
    if inference == "grid":
        return {"inference": inference, "overlap": patches.overlap, **every}
    return {"inference": inference, "count": patches.patches, "seed": patches.seed, **every}


def _asked(spec: Spec) -> tuple[FeaturesOf | None, bool]:
    """Which features the aggregators need, and whether one of them learns."""
    patch, slice_ = (
        registry().load("aggregator", name) for name in (spec.aggregate.patch, spec.aggregate.slice)
    )
    features: FeaturesOf | None = None
    if patch.needs == "features":
        features = "patch"
    elif slice_.needs == "features":
        features = "slice"
    return features, any(able(cls, Trainable) for cls in (patch, slice_))


def _subsets(ctx: Context) -> dict[str, frozenset[str]]:
    """SIFT-DBT's subset of its test list, where it is asked for and all of it is in the test split."""
    subset = published_subset(ctx.spec)
    test = {ctx.data.dataset.cohort[i].id for i in ctx.data.split.test}
    return {SUB5: subset} if subset and subset <= test else {}


def _refuse_not_finite(table: pa.Table, split: str) -> None:
    for name in {"logits", "features"} & set(table.column_names):
        values = pc.list_flatten(table[name]).to_numpy()
        if not np.isfinite(values).all():
            error = TrainingError(
                f"{name} of the {split} split are not all finite numbers",
                hint="lower the learning rate of finetune",
            )
            raise marked(error, "finetuner")
