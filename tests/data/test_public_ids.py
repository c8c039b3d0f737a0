"""Whether ids are public is the source's own word, for every command and for the data set that is made."""

from __future__ import annotations

import json
import sys

import pytest

from dbtssl.benchmark.inputs.open_dataset import find_volumes, prepare_stage
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.cli.main import main
from dbtssl.config import validate
from dbtssl.data.deidentify import privacy_by
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.engine.store import Store
from dbtssl.plugins import add_plugin_file, registry
from dbtssl.plugins.files import module_name

PLUGIN = """
from dbtssl.api import Config, hookimpl
from dbtssl.data.sources.bcs_dbt import BcsDbt

DBTSSL_API = 1


class Open(BcsDbt):
    public = {public}


@hookimpl
def register_components(register):
    register("source", "open", f"{{__name__}}:Open", "ids that the source speaks for")
"""


@pytest.mark.parametrize(("public", "ids"), [(True, "published"), (False, "hashed")])
def test_prepare_and_benchmark_treat_the_ids_of_a_source_alike(
    small_tree, tmp_path, monkeypatch, public, ids
):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "config" / name)
    path = tmp_path / "open_source.py"
    path.write_text(PLUGIN.format(public=public))
    add_plugin_file(path)
    with pytest.raises(SystemExit) as left:
        main(["data", "prepare", "open", str(small_tree.root), str(tmp_path / "a"), "--jobs", "1"])
    assert not left.value.code
    data = {"source": "open", "root": str(small_tree.root)}
    spec = validate(
        Spec, {"name": "x", "methods": ["random-init"], "data": data, "run": {"jobs": 1}}
    )
    stage = prepare_stage(spec, *find_volumes(spec))
    one, two = (
        PreparedDataset.open(f) for f in (tmp_path / "a", Store(tmp_path / "s").get(stage).folder)
    )
    assert (
        one.ids
        == two.ids
        == ids
        == json.loads((tmp_path / "a" / "dataset.json").read_text())["ids"]
    )
    assert [v.id for v in one.cohort] == [v.id for v in two.cohort]
    assert one.digest == two.digest
    assert ("P1" in {v.patient for v in one.cohort}) is public
    # lists of a split, by the source's own ids, find the volumes of either
    assert privacy_by(two.ids).ids("P1", "S1")[0] in {v.patient for v in two.cohort}


def test_ids_of_another_kind_are_another_data_set(small_tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "config" / name)
    path = tmp_path / "open_source.py"
    arguments = [
        "data",
        "prepare",
        "open",
        str(small_tree.root),
        str(tmp_path / "a"),
        "--jobs",
        "1",
    ]
    for public, code in ((True, 0), (False, 2)):
        path.write_text(PLUGIN.format(public=public))
        add_plugin_file(path)
        registry.cache_clear()
        sys.modules.pop(module_name(path), None)
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert (left.value.code or 0) == code
    assert "ids published; asked for open, " in " ".join(capsys.readouterr().err.split())
