from __future__ import annotations

import hashlib
import json
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from dbtssl.config import (
    Config,
    canonical_json,
    did_you_mean,
    digest,
    infra,
    load_toml,
    result_fields,
    set_key,
    validate,
)
from dbtssl.errors import ConfigError


class Schedule(Config):
    steps: int = Field(10, ge=1, le=1000)
    lr: float = Field(0.1, gt=0, lt=1)
    shape: Literal["cosine", "constant"] = "cosine"
    workers: int = infra(0, ge=0)


class Spec(Config):
    name: str
    schedule: Schedule = Schedule()
    stages: tuple[Schedule, ...] = ()
    by_name: dict[str, Schedule] = Field(default_factory=dict)
    other: Schedule | None = None
    on: bool = True
    scale: tuple[float, float] = (0.2, 1.0)
    words: tuple[str, ...] = Field(("a",), min_length=1, max_length=2)
    tag: str = Field("ab", min_length=1, max_length=3, pattern="^[a-z]*$")
    folder: Path | None = infra(None)

    @field_validator("name")
    @classmethod
    def _no_space(cls, value: str) -> str:
        if " " in value:
            raise ValueError("expected no space")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Spec:
        if self.name == "off" and self.on:
            raise ValueError("name is off and on is true")
        return self


def lines(data, **kwargs):
    """What is printed below the first line, for a ``Spec`` of ``data``."""
    with pytest.raises(ConfigError) as refusal:
        validate(Spec, data, **kwargs)
    return [line.strip() for line in refusal.value.message.splitlines()[1:]]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({}, "name: missing"),
        ({"name": 3}, "name: got 3, expected text"),
        ({"name": "a b"}, 'name: got "a b", expected no space'),
        ({"name": "off"}, "all of it: name is off and on is true"),
        ({"schedule": {"steps": 0}}, "schedule.steps: got 0, expected a number >= 1"),
        ({"schedule": {"steps": 1001}}, "schedule.steps: got 1001, expected a number <= 1000"),
        ({"schedule": {"lr": 0}}, "schedule.lr: got 0, expected a number > 0.0"),
        ({"schedule": {"lr": 1.5}}, "schedule.lr: got 1.5, expected a number < 1.0"),
        ({"schedule": {"lr": float("nan")}}, "schedule.lr: got NaN, expected a finite number"),
        ({"schedule": {"lr": float("inf")}}, "schedule.lr: got Infinity, expected a finite number"),
        ({"schedule": {"lr": "0.1"}}, 'schedule.lr: got "0.1", expected a number'),
        ({"schedule": {"steps": "5"}}, 'schedule.steps: got "5", expected an integer'),
        ({"schedule": {"steps": 5.5}}, "schedule.steps: got 5.5, expected an integer"),
        ({"schedule": {"steps": True}}, "schedule.steps: got true, expected an integer"),
        (
            {"schedule": {"shape": "cosin"}},
            "schedule.shape: got \"cosin\", expected 'cosine' or 'constant'. Did you mean 'cosine'?",
        ),
        (
            {"schedule": {"shape": "x"}},
            "schedule.shape: got \"x\", expected 'cosine' or 'constant'",
        ),
        ({"on": 1}, "on: got 1, expected true or false"),
        ({"schedule": 3}, "schedule: got 3, expected a table"),
        ({"by_name": 3}, "by_name: got 3, expected a table"),
        ({"stages": 3}, "stages: got 3, expected a list"),
        ({"scale": [1, 2, 3]}, "scale: got [1, 2, 3], expected at most 2 items"),
        ({"scale": [1]}, "scale.1: missing"),
        ({"words": []}, "words: got [], expected at least 1 items"),
        ({"tag": "abcd"}, 'tag: got "abcd", expected a text of at most 3 characters'),
        ({"tag": ""}, 'tag: got "", expected a text of at least 1 characters'),
        ({"tag": "A"}, 'tag: got "A", expected a text that matches ^[a-z]*$'),
        ({"folder": 3}, "folder: got 3, expected text"),
        ({"name": "x" * 99 + " "}, f'name: got "{"x" * 56}..., expected no space'),
    ],
)
def test_one_error_is_one_line(data, line):
    named = data if line.startswith(("name", "all")) else {"name": "x"} | data
    assert lines(named) == [line]


SCHEDULE_KEYS = "Known keys: lr, shape, steps, workers."


@pytest.mark.parametrize(
    ("data", "key", "near"),
    [
        ({"schedule": {"step": 1}}, "schedule.step", " Did you mean 'steps'?"),
        ({"stages": [{}, {"step": 1}]}, "stages.1.step", " Did you mean 'steps'?"),
        ({"by_name": {"a": {"lrr": 1}}}, "by_name.a.lrr", " Did you mean 'lr'?"),
        ({"other": {"zzz": 1}}, "other.zzz", ""),
    ],
)
def test_an_unknown_key_is_compared_with_the_keys_beside_it(data, key, near):
    assert lines({"name": "x"} | data) == [f"{key}: unknown key.{near} {SCHEDULE_KEYS}"]


def test_all_errors_come_at_once_and_the_file_is_named_once():
    data = {"nmae": "x", "schedule": {"lr": -1, "steps": 0}}
    with pytest.raises(ConfigError) as refusal:
        validate(Spec, data, file="spec.toml")
    head, *rest = refusal.value.message.splitlines()
    assert head == "4 errors in spec.toml:"
    assert sorted(line.split(":")[0].strip() for line in rest) == [
        "name",
        "nmae",
        "schedule.lr",
        "schedule.steps",
    ]
    assert refusal.value.hint == "fix the keys above"


def test_where_begins_every_key():
    assert lines({}, where="data.phantom") == ["data.phantom.name: missing"]


def test_what_is_not_a_table_is_refused():
    assert lines([1]) == ["all of it: got [1], expected a table"]


def test_plain_data_become_the_types_of_the_fields():
    spec = validate(
        Spec,
        {"name": "x", "scale": [0, 1], "folder": "a/b", "schedule": {"lr": 0.5}, "stages": [{}]},
    )
    assert spec.scale == (0.0, 1.0)
    assert spec.folder == Path("a/b")
    assert spec.schedule.lr == 0.5
    assert spec.stages == (Schedule(),)


def test_a_dumped_configuration_comes_back_equal():
    spec = Spec(name="x", scale=(0.3, 0.4), folder=Path("a"), stages=(Schedule(lr=0.3),))
    assert validate(Spec, spec.model_dump()) == spec
    assert validate(Spec, dict(spec)) == spec


def test_a_configuration_is_frozen_and_its_defaults_are_checked():
    with pytest.raises(ValidationError, match="frozen"):
        Spec(name="x").name = "y"

    class Wrong(Config):
        share: float = Field(2.0, le=1)

    with pytest.raises(ConfigError, match=r"share: got 2\.0, expected a number <= 1"):
        validate(Wrong, {})


def test_toml_is_read(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text('name = "µ"\n[schedule]\nlr = 0.5\n', encoding="utf-8")
    assert load_toml(path) == {"name": "µ", "schedule": {"lr": 0.5}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name = \n", r"is not valid TOML: .*line 1"),
        (b"a = 1\n\na = 2\n", r"is not valid TOML: .*line 3"),
        (b"name = '\xff'", "is not valid TOML: 'utf-8' codec"),
        (None, "no such file"),
    ],
)
def test_broken_toml_is_refused_with_its_line(tmp_path, content, words):
    path = tmp_path / "spec.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as refusal:
        load_toml(path)
    assert str(path) in refusal.value.message
    assert refusal.value.hint


def test_a_folder_is_no_toml_file(tmp_path):
    with pytest.raises(ConfigError, match=f"cannot read {tmp_path}: Is a directory"):
        load_toml(tmp_path)


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("a=1", {"a": 1}),
        ("a=1e-3", {"a": 1e-3}),
        ("a=true", {"a": True}),
        ("a=word", {"a": "word"}),
        ("a=two words", {"a": "two words"}),
        ("a='5'", {"a": "5"}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a.b.c=[1, 2]", {"a": {"b": {"c": [1, 2]}}}),
        ('a={x = 1, y = ["z"]}', {"a": {"x": 1, "y": ["z"]}}),
        (" a . b =2", {"a": {"b": 2}}),
        ("bcs-dbt.root=/data/x", {"bcs-dbt": {"root": "/data/x"}}),
    ],
)
def test_set_takes_a_toml_value_or_a_bare_word(assignment, expected):
    data = {}
    set_key(data, assignment)
    assert data == expected


def test_set_keeps_what_is_beside_it():
    data = {"a": {"b": 1, "c": 2}}
    set_key(data, "a.b=3")
    assert data == {"a": {"b": 3, "c": 2}}


@pytest.mark.parametrize("assignment", ["a", "=1", "a..b=1", ".a=1", ""])
def test_set_without_key_or_value_is_refused(assignment):
    with pytest.raises(ConfigError, match="expected KEY=VALUE") as refusal:
        set_key({}, assignment)
    assert "--set predict.patches=5" in refusal.value.hint


def test_set_below_a_value_is_refused():
    with pytest.raises(ConfigError, match=r"--set a\.b=1: a is a value, not a table") as refusal:
        set_key({"a": 5}, "a.b=1")
    assert refusal.value.hint == "set it whole: --set a=VALUE"


def test_did_you_mean_names_the_nearest_or_nothing():
    assert did_you_mean("patchs", ["patches", "pixels"]) == " Did you mean 'patches'?"
    assert did_you_mean("x", ["patches"]) == ""
    assert did_you_mean("x", []) == ""
    assert did_you_mean("AUC", ["auc", "ar"]) == " Did you mean 'auc'?"


def test_result_fields_leave_out_what_does_not_decide_at_any_depth():
    one = Spec(
        name="x",
        folder=Path("a"),
        stages=(Schedule(workers=1),),
        by_name={"k": Schedule(workers=2)},
    )
    other = Spec(name="x", folder=Path("b"), stages=(Schedule(),), by_name={"k": Schedule()})
    assert result_fields(one) == result_fields(other)
    assert "workers" not in json.dumps(result_fields(one))
    assert result_fields(one)["schedule"] == {"lr": 0.1, "shape": "cosine", "steps": 10}
    assert result_fields(one) != result_fields(Spec(name="x", stages=(Schedule(lr=0.2),)))


def test_equal_data_have_one_text():
    class Colour(Enum):
        RED = "r"

    data = {
        "b": (1, 2.5),
        "a": Path("x/y"),
        "c": Colour.RED,
        "d": date(2020, 1, 2),
        "e": Schedule(),
    }
    expected = (
        '{"a":"x/y","b":[1,2.5],"c":"r","d":"2020-01-02",'
        '"e":{"lr":0.1,"shape":"cosine","steps":10,"workers":0}}'
    )
    assert canonical_json(data) == expected
    assert canonical_json(dict(reversed(data.items()))) == expected


def test_the_digest_is_sha256_of_that_text():
    assert (
        digest({"b": 1, "a": [True, None]})
        == hashlib.sha256(b'{"a":[true,null],"b":1}').hexdigest()
    )


def test_what_has_no_text_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
    with pytest.raises(TypeError, match="cannot turn object into JSON"):
        canonical_json(object())
