"""Every mistake a user can make with the main job: one message, a next step, exit code 2, no traceback."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING

import pydicom
import pytest

from dbtssl.cli.main import main
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output.write_cohort import write_cohort

if TYPE_CHECKING:
    from pathlib import Path


SPEC = """\
name = "toy"
methods = ["random-init"]
[backbone]
args = { base_channels = 2 }
[finetune]
epochs = 1
[predict]
patches = 1
patch_size = 64
"""


@pytest.fixture
def refuse(tmp_path, capsys):
    """Run the benchmark; what it printed, once the common promises are checked."""

    def run(*args, spec=SPEC, complete=()):
        out = tmp_path / "runs"
        path = tmp_path / "toy.toml"
        path.write_text(spec)
        with pytest.raises(SystemExit) as left:
            main(["benchmark", str(path), "--out", str(out), *map(str, args)], prog_name="dbtssl")
        text = capsys.readouterr().err
        assert left.value.code == 2, text
        assert "error: " in text
        assert "hint: " in text
        assert "Traceback" not in text
        assert not (out / "toy").exists()
        assert [p.parts[-3] for p in out.glob("store/[!.]*/*/*")] == list(complete)
        return " ".join(text.split())

    return run


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort") / "phantom"
    config = PhantomConfig(patients=6, seed=5, rows=64, prevalence="balanced")
    write_cohort(config, folder, 1)
    return folder


@pytest.fixture
def tree(cohort, tmp_path):
    shutil.copytree(cohort, tmp_path / "tree")
    return tmp_path / "tree"


def first_volume(tree: Path) -> Path:
    return min(tree.rglob("*.dcm"))


def test_unknown_method(refuse):
    text = refuse(spec=SPEC.replace("random-init", "moco-v3"))
    assert "no method named 'moco-v3'. Did you mean 'moco-v2'?" in text


def test_every_wrong_row_is_named(refuse):
    text = refuse(spec=SPEC.replace('["random-init"]', '["moco-v3", "swift-dbt"]'))
    assert "'moco-v3'" in text
    assert "'swift-dbt'" in text


def test_broken_toml(refuse):
    assert "is not valid TOML" in refuse(spec="name = ")


def test_unknown_key(refuse):
    text = refuse(spec=SPEC.replace("patches = 1\n", "patchs = 1\n"))
    assert "predict.patchs: unknown key. Did you mean 'patches'?" in text


def test_unknown_key_of_a_component(refuse):
    text = refuse(spec=SPEC.replace("epochs = 1", "epoch = 1"))
    assert "epoch: unknown key. Did you mean 'epochs'?" in text


def test_unknown_preset(refuse):
    spec = SPEC.replace("random-init", "moco-v2") + '[method.moco-v2]\npreset = "as-relased"\n'
    assert "no preset 'as-relased'. Did you mean 'as-released'?" in refuse(spec=spec)


def test_unknown_source_and_protocol(refuse):
    assert "no source named 'bcs-dtb'. Did you mean 'bcs-dbt'?" in refuse("--data", "bcs-dtb:/x")
    assert "strict" in refuse(spec='protocol = "stricter"\n' + SPEC)


def test_missing_folder(refuse, tmp_path):
    assert "no such folder" in refuse("--data", f"bcs-dbt:{tmp_path / 'gone'}")


def test_empty_folder(refuse, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refuse("--data", f"bcs-dbt:{tmp_path / 'empty'}")


def test_a_source_without_a_folder(refuse):
    assert "needs a folder" in refuse("--data", "bcs-dbt")


@pytest.mark.parametrize("word", ["labels", "boxes", "file-paths"])
def test_missing_table(refuse, tree, word):
    next(tree.glob(f"*{word}*.csv")).unlink()
    assert word in refuse("--data", f"bcs-dbt:{tree}")


def test_missing_columns(refuse, tree):
    table = next(tree.glob("*labels*.csv"))
    table.write_text(table.read_text().replace("Cancer", "Tumour"))
    assert "Cancer" in refuse("--data", f"bcs-dbt:{tree}")


def test_no_abnormal_patient(refuse, tree):
    labels, boxes = next(tree.glob("*labels*.csv")), next(tree.glob("*boxes*.csv"))
    head, *lines = labels.read_text().splitlines()
    cut = [line.rsplit(",", 4)[0] + ",1,0,0,0" for line in lines]
    labels.write_text("\n".join([head, *cut]) + "\n")
    boxes.write_text(boxes.read_text().splitlines()[0] + "\n")
    text = refuse("--data", f"bcs-dbt:{tree}", complete=["prepare"])
    assert "no abnormal patient in the train split" in text


def test_another_kind_of_dicom(refuse, tree):
    path = first_volume(tree)
    header = pydicom.dcmread(path)
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = (
        "1.2.840.10008.5.1.4.1.1.2"  # CT Image Storage
    )
    header.save_as(path)
    assert "not tomosynthesis" in refuse("--data", f"bcs-dbt:{tree}")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_dicom(refuse, tree, share):
    path = first_volume(tree)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "DBT-P" in refuse("--data", f"bcs-dbt:{tree}")


def test_a_method_that_diverges_is_a_row_and_the_others_are_kept(tree, tmp_path, capsys):
    spec = SPEC.replace('["random-init"]', '["random-init", "wild"]')
    (tmp_path / "toy.toml").write_text(
        spec + '[tasks]\n[method.wild]\nmethod = "random-init"\nfinetune = { lr = 1e30 }\n'
    )
    args = ["benchmark", str(tmp_path / "toy.toml"), "--out", str(tmp_path / "runs")]
    with pytest.raises(SystemExit) as left:
        main(["--debug", *args, "--data", f"phantom:{tree}"], prog_name="dbtssl")
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert "1 of 2 rows failed" in printed.err
    assert "diverged in epoch 1" in printed.err
    assert "_refuse_divergence" in printed.err  # --debug shows where
    rows = json.loads((tmp_path / "runs" / "toy" / "table.json").read_text())["rows"]
    tuned, frozen = (
        {r["method"]: r for r in rows if r["kind"] == "method" and r["frozen"] == f}
        for f in (False, True)
    )
    assert {m: bool(r["failure"]) for m, r in tuned.items()} == {"random-init": False, "wild": True}
    # what was found before fine-tuning stays; both have the same random weights
    assert not frozen["wild"]["failure"]
    assert frozen["wild"]["cells"] == frozen["random-init"]["cells"]


def test_a_prepared_set_is_not_asked_for_other_settings(refuse, tree, tmp_path):
    main_args = ["data", "prepare", "phantom", str(tree), str(tmp_path / "prepared")]
    with pytest.raises(SystemExit):
        main(main_args, prog_name="dbtssl")
    data = f"phantom:{tmp_path / 'prepared'}"
    assert "short_side = 32" in refuse("--data", data, "--set", "prepare.short_side=32")
    assert "source phantom" in refuse("--data", data.replace("phantom:", "bcs-dbt:", 1))


def test_an_output_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "toy.toml").write_text(SPEC)
    args = ["benchmark", str(tmp_path / "toy.toml"), "--out", str(tmp_path / "file" / "runs")]
    with pytest.raises(SystemExit) as left:
        main(args, prog_name="dbtssl")
    assert left.value.code == 2
    assert "choose a folder that you may write to" in capsys.readouterr().err


def test_full_disk(refuse, tree, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dbtssl.engine.store.write_text", full)
    assert "disk is full" in refuse("--data", f"phantom:{tree}")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[aggregate]\npatch = "z-run"\n', "aggregator 'z-run' works at level volume, not slice"),
        ('[aggregate]\nbreast = "attention"\n', "aggregator 'attention' learns or needs features"),
        ("[aggregate.options.patch]\nk = 3\n", "aggregate.options.patch.k: unknown key"),
        ("[aggregate.options.pach]\nk = 3\n", "aggregate.options.pach"),
        ('[aggregate]\nslice = "attenshun"\n', "Did you mean 'attention'"),
    ],
)
def test_aggregators_that_cannot_be_used(refuse, table, message):
    assert message in refuse(spec=SPEC + table)


def test_a_lattice_under_the_protocol_that_places_patches_itself(refuse):
    text = refuse("--set", "predict.inference=grid", "--set", "protocol=as-published")
    assert "protocol 'as-published' places the patches itself" in text


def test_overlap_means_nothing_for_random_patches(refuse):
    assert 'overlap is of inference = "grid"' in refuse("--set", "predict.overlap=0.2")
