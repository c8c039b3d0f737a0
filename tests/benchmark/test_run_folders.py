"""Where a second run of the same name goes."""

from __future__ import annotations

import pytest

from dbtssl.benchmark.results.run_record import write_record
from dbtssl.benchmark.run_folders import replaced_rows, run_folder
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.config import result_fields, validate

METHODS = ["random-init", "moco-v2"]


def spec(**fields):
    return validate(Spec, {"name": "one", "methods": METHODS} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"methods": [*METHODS, "simclr"]},
        {"methods": ["simclr", *METHODS], "method": {"simclr": {"pretrain": {"epochs": 2}}}},
        {"seeds": [0, 1]},
        {"method": {"moco-v2": {}}},
        {"title": "Another title"},
        {"monitor": {"every": 0}},
        {"run": {"workers": 2}},
    ],
)
def test_the_same_settings_and_more_rows_stay(make_run, capsys, fields):
    run = make_run("one")
    assert run_folder(spec(**fields), run.folder.parent) == run.folder
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"methods": ["moco-v2"]}, 'methods ["random-init","moco-v2"] there, ["moco-v2"] here'),
        ({"seeds": [1]}, "seeds [0] there, [1] here"),
        ({"pretrain": {"epochs": 3}}, "pretrain.epochs none there, 3 here"),
        ({"protocol": "as-published"}, "protocol strict there, as-published here"),
        ({"labels": [0.5]}, "labels [1.0] there, [0.5] here"),
        ({"labels": [0.5, 1.0]}, "labels [1.0] there, [0.5,1.0] here"),
        (
            {"method": {"moco-v2": {"finetune": {"lr": 0.5}}}},
            "method.moco-v2.finetune.lr none there, 0.5 here",
        ),
    ],
)
def test_other_settings_go_beside_and_the_message_names_keys_and_both_folders(
    make_run, capsys, fields, said
):
    run = make_run("one")
    asked, out = spec(**fields), run.folder.parent
    assert run_folder(asked, out) == out / "one-2"
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count(" there, ") == 1 + ("tables one there" in printed)
    assert f"{run.folder} holds" in printed
    assert f"{out / 'one-2'}." in printed
    assert "--set name=NAME" in printed


def test_a_third_goes_further_and_a_second_comes_back(make_run):
    out = make_run("one").folder.parent
    second = make_run("two")
    for folder, epochs in (("one-2", 3), ("one-3", 4)):
        fields = result_fields(spec(pretrain={"epochs": epochs}))
        (out / folder).mkdir()
        write_record(second.record.model_copy(update={"spec": fields}), out / folder)
    assert run_folder(spec(pretrain={"epochs": 3}), out) == out / "one-2"
    assert run_folder(spec(pretrain={"epochs": 4}), out) == out / "one-3"
    assert run_folder(spec(pretrain={"epochs": 5}), out) == out / "one-4"


def test_a_folder_of_another_name_is_not_taken_over(make_run):
    out = make_run("one").folder.parent
    make_run("one-2")
    assert run_folder(spec(pretrain={"epochs": 3}), out) == out / "one-3"


@pytest.mark.parametrize(
    ("labels", "folder"),
    [([0.25, 0.5], "one"), ([0.25, 0.5, 1.0], "one"), ([0.5, 1.0], "one-2"), ([0.25], "one-2")],
)
def test_more_shares_of_the_labels_stay_and_fewer_do_not(make_run, labels, folder):
    run = make_run("other")
    out = run.folder.parent
    for share in (0.25, 0.5):
        target = out / "one" / f"labels-{share}"
        target.mkdir(parents=True)
        fields = result_fields(spec(labels=[share]))
        write_record(run.record.model_copy(update={"spec": fields}), target)
    assert run_folder(spec(labels=labels), out) == out / folder


def test_rows_with_other_numbers_are_named(make_run):
    run = make_run("one")
    rows = list(run.record.rows)
    assert replaced_rows(run.folder, run.record) == []
    changed = run.record.model_copy(
        update={"rows": (rows[0], rows[1].model_copy(update={"score": "k" * 32}))}
    )
    assert replaced_rows(run.folder, changed) == ["moco-v2, seed 0"]
    assert replaced_rows(run.folder.parent / "none", changed) == []


def test_a_damaged_record_is_no_run(make_run):
    run = make_run("one")
    (run.folder / "benchmark.json").write_text("{")
    assert run_folder(spec(pretrain={"epochs": 3}), run.folder.parent) == run.folder
