"""Finished runs without a training: predictions that are drawn, scored and recorded as a benchmark would."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dbtssl.benchmark.results.finished_run import Run
from dbtssl.benchmark.results.run_record import Record, RowRecord, StageRecord, write_record
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.benchmark.stages.compare_stage import comparison_stage
from dbtssl.config import result_fields, validate
from dbtssl.engine.store import Stage, Store
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.protocol import protocol
from dbtssl.evaluation.score import score
from dbtssl.io import write_text

SLICES = 6


def drawn(part: str, patients: int, strength: float, seed: int) -> pa.Table:
    """Half of the patients have an abnormal volume, three of whose six slices are abnormal; every slice two patches."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(patients):
        for view in ("lcc", "lmlo"):
            sick = i % 2 == 0
            for z in range(SLICES):
                abnormal = sick and 1 <= z <= 3
                rows.append(
                    {
                        "volume": f"{part}{i:02d}_s_{view}",
                        "patient": f"{part}{i:02d}",
                        "study": "s",
                        "view": view,
                        "label": 3 if sick else 0,
                        "n_slices": SLICES,
                        "z": z,
                        "abnormal": abnormal,
                        "logits": (rng.normal(size=2) + strength * abnormal).tolist(),
                    }
                )
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory):
    """One store for the runs of all tests: what is the same is scored once."""
    return tmp_path_factory.mktemp("finished") / "store"


@pytest.fixture
def make_run(tmp_path, shared_store):
    """Makes a run: ``strengths`` by method, how far its abnormal slices stand out."""
    shared_store.mkdir(exist_ok=True)
    (tmp_path / "store").symlink_to(shared_store)

    def make(name="one", strengths=None, seeds=(0,), test_patients=16, **spec_fields):
        strengths = strengths or {"random-init": 0.5, "moco-v2": 1.5}
        store = Store(tmp_path / "store")
        fields = {"name": name, "methods": list(strengths), "seeds": list(seeds)} | spec_fields
        spec = validate(Spec, fields)
        chosen = protocol(spec.protocol)
        rows, stages, parts = [], [], []
        for method, strength in strengths.items():
            for seed in seeds:
                tables = {
                    "val": drawn("v", 8, strength, 100 + seed),
                    "test": drawn("p", test_patients, strength, seed),
                }

                def predict(folder, tables=tables):
                    for part, table in tables.items():
                        pq.write_table(table, folder / f"{part}.parquet")

                def evaluate(folder, tables=tables):
                    found = score(tables["test"], tables["val"], chosen, Mean(), Max())
                    write_text(folder / "score.json", found.to_json())

                label = f"{method}, seed {seed}"
                key = {"strength": strength, "seed": seed, "n": test_patients}
                predicted = Stage(
                    "predict", label, 1, key, {}, ("val.parquet", "test.parquet"), predict
                )
                output = store.get(predicted)
                scored = Stage(
                    "score", label, 1, {"protocol": spec.protocol},
                    {"predict": output.content}, ("score.json",), evaluate,
                )  # fmt: skip
                parts.append((method, seed, output, store.get(scored)))
                stages += [(s.name, label, s.key) for s in (predicted, scored)]
                rows.append(
                    RowRecord(
                        method=method,
                        backbone="cnn7",
                        finetuner="full",
                        seed=seed,
                        epochs_done=None,
                        epochs_planned=None,
                        reported=(),
                        score=scored.key,
                        stages={"predict": predicted.key},
                    )
                )
        comparison = ""
        if len(strengths) > 1:
            stage = comparison_stage(spec, parts)
            store.get(stage)
            comparison = stage.key
        record = Record(
            request="r",
            title=name,
            phantom=True,
            data="d" * 64,
            split="s" * 64,
            spec=result_fields(spec),
            stages=tuple(StageRecord(stage=s, of=of, key=k) for s, of, k in stages),
            rows=tuple(rows),
            comparison=comparison,
            environment={"torch": "2.10", "device": "cpu"},
        )
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        write_record(record, folder)
        return Run(folder, record, store)

    return make
