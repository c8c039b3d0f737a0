"""A method and a paper's row are refused where they are written, not when a row first uses them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from dbtssl.api import Method, PluginError, Reported, sift_dbt_row
from dbtssl.errors import ConfigError
from dbtssl.evaluation.protocol import protocol
from dbtssl.interfaces.methods import PROTOCOL_NAMES

ROW = {
    "level": "volume",
    "backbone": "resnet50",
    "patches": 20,
    "values": {"auc": 92.69, "sp@87": 80.86},
    "protocol": "as-published",
    "evaluation_set": "bcs-dbt-sift-test-full",
    "source": "table 3",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": {"AUC": 92.0}}, "unknown metric 'AUC'. Did you mean 'auc'"),
        ({"values": {"sp@78": 92.0}}, "unknown metric 'sp@78'"),
        ({"values": {"auc": 9269.0}}, r"auc is 9269, expected a value of \[0, 1\], in percent"),
        ({"values": {"brier": -1.0}}, r"brier is -1, expected a value of \[0, 1\]"),
        ({"protocol": "stricct"}, "unknown protocol. Did you mean 'strict'"),
        ({"protocol": "strict-window-4"}, "unknown protocol"),
        ({"level": "volumes"}, "level"),
        ({"patches": 0}, "patches"),
        ({"finetune": "full"}, "finetune"),
    ],
)
def test_a_row_of_a_paper_that_no_row_could_match_is_refused(change, words):
    with pytest.raises(ValidationError, match=words):
        Reported(**(ROW | change))


def test_a_paper_may_have_measured_with_another_window_and_in_the_units_of_the_metric():
    assert Reported(**(ROW | {"protocol": "strict-window-2-10"})).patches == 20
    assert Reported(**(ROW | {"values": {"brier": 0.2, "npv-gain": -3.0}})).values["brier"] == 0.2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pretrain": {"epoch": 3}}, "pretrain.epoch: unknown key. Did you mean 'epochs'"),
        ({"pretrain": {"epochs": "3"}}, 'pretrain.epochs: got "3", expected an integer'),
        ({"pretrain": {"lr": -1.0, "moment": 0}}, "pretrain.lr: .*pretrain.moment: unknown key"),
        (
            {"presets": {"a": {"finetune": {}}}},
            "presets.a: unknown table 'finetune'. Did you mean 'finetuner'",
        ),
        (
            {"presets": {"a": {"pretrain": {"warmup": 3}}}},
            "presets.a.pretrain.warmup: unknown key. Did you mean 'warmup_epochs'",
        ),
        (
            {"pretrain": {"epochs": 5}, "presets": {"a": {"pretrain": {"warmup_epochs": 9.0}}}},
            "warmup_epochs of at most epochs",
        ),
        ({"objective": None, "pretrain": {"epochs": 3}}, "pretrain is given, and no objective"),
        ({"objective": None, "sampler": "same-slice"}, "sampler is given, and no objective"),
        (
            {"objective": None, "presets": {"a": {"objective": {"dim": 3}}}},
            "presets.a: table 'objective', and no objective",
        ),
        ({"reported": ({"level": "volume"},)}, "reported"),
    ],
)
def test_a_method_with_a_key_that_nothing_reads_is_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        Method(**({"summary": "x", "objective": "moco-v2"} | fields))


def test_a_sound_method_is_none_of_these():
    method = Method(
        summary="x",
        objective="moco-v2",
        sampler="same-slice",
        pretrain={"epochs": 5, "warmup_epochs": 1.0},
        presets={
            "a": {
                "objective": {"dim": 3},
                "sampler": {},
                "finetuner": {},
                "pretrain": {"epochs": 2},
            }
        },
        reported=(Reported(**ROW),),
    )
    assert method.presets["a"]["pretrain"] == {"epochs": 2}
    assert Method(summary="x", presets={"a": {"finetuner": {"epochs": 3}}}).objective is None


def test_the_names_of_the_protocols_are_those_that_there_are():
    assert [protocol(name).name for name in PROTOCOL_NAMES] == list(PROTOCOL_NAMES)
    with pytest.raises(ConfigError) as error:
        protocol("nobodys")
    assert error.value.hint == f"known protocols: {', '.join(sorted(PROTOCOL_NAMES))}"


def test_writing_a_method_loads_no_torch():
    code = (
        "import sys; from dbtssl.api import Method, Reported\n"
        f"Method(summary='x', objective='a', sampler='b', pretrain={{'epochs': 3}}, reported=(Reported(**{ROW!r}),))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    ("table", "patches", "level", "evaluation_set"),
    [
        (1, 1, "slice", "bcs-dbt-sift-test-sub5"),
        (1, 20, "slice", "bcs-dbt-sift-test-full"),
        (3, 1, "volume", "bcs-dbt-sift-test-full"),
    ],
)
def test_a_row_of_sift_dbt_names_what_it_was_measured_on(table, patches, level, evaluation_set):
    row = sift_dbt_row(table, 90.0, 99.0, 80.0, 70.0, 60.0, 50.0, patches=patches)
    assert (row.level, row.evaluation_set, row.patches) == (level, evaluation_set, patches)
    assert row.values == dict(
        zip(("auc", "npv", "nr", "ar", "sp@87", "sp@80"), (90, 99, 80, 70, 60, 50), strict=True)
    )
    assert row.source == f"SIFT-DBT, table {table}"


def test_the_fine_tuning_table_has_columns_of_its_own():
    row = sift_dbt_row(2, 87.8, 65.0, 71.74, finetuner="linear")
    assert row.values == {"auc": 87.8, "ar": 65.0, "sp@87": 71.74}
    assert (row.level, row.evaluation_set) == ("slice", "bcs-dbt-sift-test-sub5")


@pytest.mark.parametrize(("table", "values"), [(2, 6), (1, 3), (4, 6)])
def test_a_row_that_is_none_of_the_paper_is_refused(table, values):
    with pytest.raises(PluginError, match=f"got {values} values of table {table}, expected") as no:
        sift_dbt_row(table, *[50.0] * values)
    assert "2: auc, ar, sp@87" in no.value.message
