from __future__ import annotations

from types import SimpleNamespace

import pytest

from dbtssl.benchmark.keep_results import keep_plots
from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.results.run_record import StageRecord
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.benchmark.stages.context import Context
from dbtssl.benchmark.stages.train_stages import pretrain_stage
from dbtssl.config import result_fields, validate
from dbtssl.engine.store import Store
from dbtssl.errors import ConfigError
from dbtssl.training.monitors.monitor_config import PLOT


def spec(**monitor):
    tables = {"name": "toy", "methods": ["moco-v2"], "predict": {"patch_size": 64}}
    tables["backbone"] = {"name": "cnn7", "args": {"base_channels": 2}}
    return validate(Spec, tables | ({"monitor": monitor} if monitor else {}))


class Data:
    """A data set that tells which volumes are asked for."""

    split = SimpleNamespace(train=(0, 1), val=(2, 3), test=(4, 5))
    dataset = SimpleNamespace(slices=lambda part: ("slices of", part))

    @staticmethod
    def key():
        return {"data": "0", "split": "0"}


def test_the_validation_volumes_alone_are_looked_at():
    monitor = Context(spec(), Data()).monitor("moco-v2, seed 0")
    assert monitor.slices == ("slices of", (2, 3))
    assert monitor.rule.size == 64
    assert monitor.config.every == 10
    assert Context(spec(every=0), Data()).monitor("x") is None


def test_monitors_decide_nothing_so_a_result_is_found_again():
    on, off = spec(every=3, slices=1, tensorboard=False), spec(every=0)
    assert result_fields(on) == result_fields(off)
    keys = {pretrain_stage(Context(s, Data()), resolve(s).rows[0], 0).key for s in (on, off)}
    assert len(keys) == 1
    stage = pretrain_stage(Context(on, Data()), resolve(on).rows[0], 0)
    assert not any(
        "monitor" in name for name in stage.outputs
    )  # their hash is what later stages depend on


def test_a_wrong_key_is_refused():
    with pytest.raises(ConfigError, match=r"monitor\.evry: unknown key\. Did you mean 'every'"):
        spec(evry=3)


def test_tensorboard_that_is_not_installed_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("dbtssl.training.monitors.monitor_config.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="tensorboard is not installed"):
        resolve(spec(tensorboard=True))


def record(*stages):
    return SimpleNamespace(stages=[StageRecord(stage=s, of=o, key=k) for s, o, k in stages])


def test_plots_are_copied_and_those_of_other_runs_removed(tmp_path):
    store, out = Store(tmp_path / "store"), tmp_path / "toy"
    for key in ("aa1", "bb2"):
        folder = store.path("pretrain", key)
        folder.mkdir(parents=True)
        (folder / PLOT).write_bytes(key.encode())
    without = store.path("pretrain", "cc3")
    without.mkdir(parents=True)
    first = record(
        ("prepare", "phantom", "dd4"),
        ("pretrain", "moco-v2, seed 0", "aa1"),
        ("finetune", "moco-v2, seed 0", "aa1"),
        ("pretrain", "sift-dbt, seed 12", "bb2"),
        ("pretrain", "medaug, seed 0", "cc3"),
    )
    kept = keep_plots(first, store, out)
    assert {p.name: p.read_bytes() for p in kept} == {
        "moco-v2-seed-0.png": b"aa1",
        "sift-dbt-seed-12.png": b"bb2",
    }
    assert keep_plots(record(("pretrain", "moco-v2, seed 0", "cc3")), store, out) == []
    assert not any((out / "monitors").iterdir())
    assert keep_plots(record(), store, tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
