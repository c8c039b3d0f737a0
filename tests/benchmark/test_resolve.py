from __future__ import annotations

import pytest

from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.results.run_record import request_digest
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.benchmark.stages.train_stages import backbone_key
from dbtssl.config import validate
from dbtssl.errors import ConfigError, DbtsslError
from dbtssl.plugins import add_plugin_file, registry

PLUGIN = """
from dbtssl.api import Method, hookimpl

DBTSSL_API = 1
VALUE = 1
METHOD = Method(
    summary="random weights",
    presets={
        "short": {"finetuner": {"epochs": 7, "strategy": "linear"}},
    },
)
WARM = Method(
    summary="with a warm-up",
    objective="moco-v2",
    sampler="same-slice",
    objective_config={"crop_size": 64},
    pretrain={"epochs": 100, "warmup_epochs": 10.0},
    presets={"brief": {"pretrain": {"epochs": 20}}},
)


def tiny(*, pretrained, in_chans, num_classes, width=4):
    from torch import nn

    net = nn.Sequential(nn.Conv2d(in_chans, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.num_features = width
    return net


@hookimpl
def register_components(register):
    register("method", "toy", f"{__name__}:METHOD", METHOD.summary)
    register("method", "warm", f"{__name__}:WARM", WARM.summary)
    register("backbone", "tiny-net", f"{__name__}:tiny", "one convolution")
"""


def make_spec(**changes):
    data = {
        "name": "toy",
        "methods": ["random-init"],
        "backbone": {"name": "cnn7", "args": {"base_channels": 2}},
        "predict": {"patch_size": 64},
        "data": {"source": "phantom", "phantom": {"patients": 3}},
    }
    return validate(Spec, data | changes)


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "toy_plugin.py"
    path.write_text(PLUGIN)
    add_plugin_file(path)
    registry.cache_clear()
    return path


@pytest.mark.usefixtures("plugin")
def test_a_preset_changes_the_fine_tuner():
    spec = make_spec(methods=["toy"], method={"toy": {"preset": "short"}})
    config = resolve(spec).rows[0].finetuner.config
    assert (config.epochs, config.strategy) == (7, "linear")


def test_layers_of_settings_win_in_order():
    spec = make_spec(
        methods=["moco-v2"],
        pretrain={"epochs": 3, "lr": 0.5},
        objective={"moco-v2": {"temperature": 0.3, "crop_size": 64}},
        method={"moco-v2": {"preset": "as-released", "pretrain": {"momentum": 0.8}}},
    )
    row = resolve(spec).rows[0]
    assert row.objective.config.temperature == 0.5  # the preset, over the general table
    assert row.objective.config.crop_size == 64  # the general table: the preset does not name it
    assert (row.pretrain.epochs, row.pretrain.lr) == (3, 0.0075)
    assert row.pretrain.momentum == 0.8  # the row, over all
    assert row.pretrain.weight_decay == 1e-4  # the method
    assert row.planned_epochs == 4000


@pytest.mark.parametrize(("preset", "planned"), [("", 4000), ("as-released", 4000), ("medaug", 20)])
def test_planned_epochs_are_those_of_the_rows_preset(preset, planned):
    changes = {"preset": preset, "objective": {"crop_size": 64}, "pretrain": {"epochs": 3}}
    spec = make_spec(methods=["medaug"], method={"medaug": changes})
    row = resolve(spec).rows[0]
    assert (row.pretrain.epochs, row.planned_epochs) == (3, planned)


@pytest.mark.usefixtures("plugin")
def test_a_warm_up_keeps_its_share_of_the_presets_epochs():
    """The method plans 10 of 100 epochs of warm-up; its preset trains 20 epochs and leaves the 10 as they are."""
    for epochs, preset, expected in (
        (None, "", 10.0),
        (None, "brief", 10.0),
        (10, "", 1.0),
        (10, "brief", 5.0),
    ):
        own = {"preset": preset} | ({"pretrain": {"epochs": epochs}} if epochs else {})
        spec = make_spec(methods=["warm"], method={"warm": own})
        assert resolve(spec).rows[0].pretrain.warmup_epochs == expected


@pytest.mark.usefixtures("plugin")
def test_a_registered_function_is_a_backbone():
    rows = resolve(make_spec(backbone={"name": "tiny-net", "args": {"width": 3}})).rows
    assert rows[0].backbone.name == "tiny-net"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": {"name": "resnet5O"}}, "unknown backbone 'resnet5O'. Did you mean"),
        ({"backbone": {"name": "cnn7", "args": {"nope": 1}}}, "cannot be built with"),
        ({"predict": {"patch_size": 16}}, "got images of 16 x 16 pixels"),
        (
            {"methods": ["moco-v2"], "method": {"moco-v2": {"objective": {"crop_size": 32}}}},
            "got images of 32 x 32 pixels",
        ),
    ],
)
def test_networks_are_tried_before_any_work(changes, message):
    with pytest.raises(ConfigError, match=message):
        resolve(make_spec(**changes))


WIDE = """
from dbtssl.api import Config, Crop, Method, ViewSpec, hookimpl

DBTSSL_API = 1
METHOD = Method(summary="a wide view", objective="wide", sampler="same-slice")


class Wide:
    Config = Config

    def __init__(self, encoder):
        self.views = (ViewSpec("anchor", Crop((64, 96))), ViewSpec("positive", Crop((32, 80))))

    def __call__(self, batch):
        raise NotImplementedError

    def after_step(self, progress):
        raise NotImplementedError

    def encoder(self):
        raise NotImplementedError


@hookimpl
def register_components(register):
    register("objective", "wide", f"{__name__}:Wide", "a wide view")
    register("method", "wide", f"{__name__}:METHOD", METHOD.summary)
"""


def test_views_are_tried_in_their_own_shape(tmp_path):
    path = tmp_path / "wide_plugin.py"
    path.write_text(WIDE)
    add_plugin_file(path)
    registry.cache_clear()
    with pytest.raises(ConfigError, match="got images of 32 x 80 pixels, expected 64 or more"):
        resolve(make_spec(methods=["wide"]))


def test_an_edited_plugin_file_changes_the_request_and_the_keys(plugin):
    spec = make_spec(backbone={"name": "tiny-net", "args": {}})
    row = resolve(spec).rows[0]
    before = request_digest(spec), backbone_key(row)["code"]
    plugin.write_text(PLUGIN.replace("VALUE = 1", "VALUE = 2"))
    registry.cache_clear()
    after = request_digest(spec), backbone_key(row)["code"]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_half_installed_plugin_stops_nothing(plugin):
    plugin.write_text(PLUGIN.replace('f"{__name__}:METHOD"', '"gone_package.module:METHOD"'))
    registry.cache_clear()
    assert request_digest(make_spec())


def test_keys_of_an_objective_count_for_every_row_that_has_it():
    """Over the method's own, below those of a preset that the row names and of the row itself."""
    spec = make_spec(
        methods=["moco-v2", "inter-slice", "simclr", "moco-b", "moco-c"],
        objective={"moco-v2": {"crop_size": 64, "temperature": 0.3}},
        method={
            "simclr": {"objective": {"crop_size": 96}},
            "moco-b": {"method": "moco-v2", "preset": "as-released"},
            "moco-c": {"method": "moco-v2", "objective": {"temperature": 0.7}},
        },
    )
    rows = {row.name: row.objective.config for row in resolve(spec).rows}
    assert {name: config.crop_size for name, config in rows.items()} == {
        "moco-v2": 64,
        "inter-slice": 64,
        "simclr": 96,
        "moco-b": 64,
        "moco-c": 64,
    }
    found = {
        name: rows[name].temperature for name in ("moco-v2", "inter-slice", "moco-b", "moco-c")
    }
    assert found == {"moco-v2": 0.3, "inter-slice": 0.3, "moco-b": 0.5, "moco-c": 0.7}
    assert rows["moco-b"].queue_size == 4096


def test_keys_of_an_objective_that_is_not_there_are_refused():
    with pytest.raises(DbtsslError, match="moco-v2") as caught:
        resolve(make_spec(objective={"moco-v3": {"crop_size": 64}}))
    assert "moco-v3" in caught.value.message


PERCENT = """
from typing import Annotated

from pydantic import AfterValidator
from dbtssl.api import Config, Field, Method, hookimpl
from dbtssl_sift_dbt.finetuner import LocalMultiPatch

DBTSSL_API = 1
Percent = Annotated[float, Field(ge=0, le=100), AfterValidator(lambda value: value / 100)]
METHOD = Method(summary="percent", objective="moco-v2", sampler="often", finetuner="partly")


class Often:
    class Config(Config):
        share: Percent = Field(default=50.0, description="percent of the pairs")

    def __init__(self, share):
        self.share = share

    def positive(self, anchor, cohort, rng):
        return anchor


class Partly(LocalMultiPatch):
    class Config(LocalMultiPatch.Config):
        share: Percent = Field(default=50.0, description="percent of the patches")


@hookimpl
def register_components(register):
    register("sampler", "often", f"{__name__}:Often", "its validator makes percent a share")
    register("finetuner", "partly", f"{__name__}:Partly", "so does its own")
    register("method", "percent", f"{__name__}:METHOD", METHOD.summary)
"""


@pytest.mark.parametrize(("given", "share"), [({"share": 0.5}, 0.005), ({}, 0.5)])
def test_what_is_recorded_is_what_a_component_is_built_with(tmp_path, given, share):
    """A validator that converts is applied once: 0.5 % is 0.005, not 0.00005 under a record of 0.005."""
    path = tmp_path / "percent.py"
    path.write_text(PERCENT)
    add_plugin_file(path)
    changes = {"sampler": given, "finetune": given, "objective": {"crop_size": 64}}
    row = resolve(make_spec(methods=["percent"], method={"percent": changes})).rows[0]
    assert row.sampler.key()["config"]["share"] == row.sampler.build().share == share
    assert row.finetuner.key()["config"]["share"] == row.finetuner.build().config.share == share


def test_a_configuration_of_another_component_is_refused():
    other = registry().load("aggregator", "top-k").Config()
    with pytest.raises(DbtsslError, match=r"Config, expected its own Config"):
        registry().build("aggregator", "mean", other)


WRONG = """
from dbtssl.api import Method, Reported, hookimpl

DBTSSL_API = 1
ROW = {
    "level": "slice",
    "backbone": "cnn7",
    "patches": 1,
    "values": {"auc": 90.0},
    "protocol": "strict",
    "evaluation_set": "ours",
    "source": "table 1",
}
METHOD = Method(**CHANGE)


@hookimpl
def register_components(register):
    register("method", "wrong", f"{__name__}:METHOD", METHOD.summary)
"""
MOCO = {"summary": "x", "objective": "moco-v2", "sampler": "same-slice"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "MOCO | {'sampler': 'gaussian-slices'}",
            "sampler: no sampler named 'gaussian-slices'",
        ),
        ("MOCO | {'objective': 'moco-v3'}", "objective: no objective named 'moco-v3'"),
        ("MOCO | {'finetuner': 'local'}", "finetuner: no finetuner named 'local'"),
        (
            "MOCO | {'objective_config': {'temprature': 0.1}}",
            "objective_config.temprature: unknown key. Did you mean 'temperature'",
        ),
        (
            "MOCO | {'presets': {'hot': {'objective': {'temperature': -1.0}}}}",
            "presets.hot.objective.temperature: got -1.0, expected a number > 0",
        ),
        (
            "MOCO | {'presets': {'a': {'finetuner': {'strateggy': 'full'}}}}",
            "presets.a.finetuner.strateggy: unknown key",
        ),
        (
            "MOCO | {'reported': (Reported(**ROW | {'backbone': 'cnn77'}),)}",
            "reported.0.backbone: unknown 'cnn77'. Did you mean 'cnn7'",
        ),
        (
            "MOCO | {'reported': (Reported(**ROW), Reported(**ROW | {'finetuner': 'discriminativ'}))}",
            "reported.1.finetuner: unknown 'discriminativ'. Did you mean 'discriminative'",
        ),
    ],
)
def test_what_a_method_names_and_nobody_has_costs_its_row_whatever_its_rows_ask_for(
    tmp_path, change, words
):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG.replace("CHANGE", change.replace("MOCO", repr(MOCO))))
    add_plugin_file(path)
    resolved = resolve(make_spec(methods=["random-init", "wrong"]))
    assert [row.name for row in resolved.rows] == ["random-init"]
    (broken,) = resolved.broken
    assert f"row 'wrong': method 'wrong' of {path}" in broken.error.message
    assert words in broken.error.message


def test_a_sound_method_of_a_plugin_is_taken(tmp_path):
    """Also a paper's row of a weights tag of timm, and of a fine-tuner by its name."""
    rows = "Reported(**ROW | {'backbone': 'resnet50.a1_in1k', 'finetuner': 'local-multi-patch'})"
    path = tmp_path / "wrong.py"
    path.write_text(WRONG.replace("CHANGE", f"{MOCO!r} | {{'reported': ({rows},)}}"))
    add_plugin_file(path)
    changes = {"objective": {"crop_size": 64}}
    assert resolve(make_spec(methods=["wrong"], method={"wrong": changes})).rows[0].name == "wrong"


def test_pairs_that_nobody_registers_are_asked_for_by_their_row():
    spec = make_spec(methods=["moco-v2"], method={"moco-v2": {"pairs": "same-slices"}})
    with pytest.raises(DbtsslError, match="row 'moco-v2': pairs: no sampler named 'same-slices'"):
        resolve(spec)


@pytest.mark.parametrize("body", ["import nowhere_at_all\n", "1 / 0\n"])
def test_why_the_plugin_of_an_unknown_method_failed_stands_in_the_message(plugin, body):
    """The file of the plugin is not named like the method: its source is."""
    plugin.write_text(body + PLUGIN)
    with pytest.raises(DbtsslError) as error:
        resolve(make_spec(methods=["toy"]))
    why = (
        "ModuleNotFoundError: No module named 'nowhere_at_all'" if "nowhere" in body else "division"
    )
    assert "no method named 'toy'. plugin toy_plugin (" in error.value.message
    assert why in error.value.message
