"""``dbtssl score`` as a user types it: each kind of file, and every refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dbtssl.cli.main import main
from dbtssl.evaluation.aggregation.simple import Max, Mean, TopK
from dbtssl.evaluation.predictions.prediction_table import read_predictions
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score import score
from dbtssl.evaluation.values import Score
from dbtssl.plugins import add_plugin_file, registry


def table(prefix, seed, patients=14, positives=6, **metadata):
    """Predictions of 3 patches per slice; a lesion brightens its slices."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(patients):
        for view in ("lcc", "lmlo"):
            abnormal, centre = p < positives, 3 + p % 4
            for z in range(10):
                near = abnormal and abs(z - centre) <= 4
                box = {
                    "x": 30.0,
                    "y": 30.0,
                    "width": 8.0,
                    "height": 8.0,
                    "label": 3,
                    "distortion": False,
                }
                rows.append(
                    {
                        "volume": f"{prefix}{p}_S_{view}",
                        "patient": f"{prefix}{p}",
                        "study": "S",
                        "view": view,
                        "label": 3 if abnormal else 0,
                        "n_slices": 10,
                        "rows": 96,
                        "columns": 80,
                        "z": z,
                        "abnormal": near,
                        "boxes": [box] if abnormal and z == centre else [],
                        "logits": (rng.normal(size=3) + near).tolist(),
                        "y": [0, 20, 40],
                        "x": [0, 20, 40],
                    }
                )
    said = {"schema": "2", "inference": "random", "patch_size": "32"} | metadata
    return pa.Table.from_pylist(rows).replace_schema_metadata(said)


@pytest.fixture
def files(tmp_path):
    for name, seed in (("test", 0), ("val", 1), ("train", 2)):
        pq.write_table(table(name[:2].upper() + "x", seed), tmp_path / f"{name}.parquet")
    return tmp_path


@pytest.fixture
def call(capsys):
    def run(*args):
        with pytest.raises(SystemExit) as left:
            main(["score", *map(str, args)], prog_name="dbtssl")
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, " ".join(printed.err.split())

    return run


def numbers(path, call, *args):
    code, out, err = call(path, *args, "--json")
    assert code == 0, err
    return Score.from_json(out)


def test_json_is_the_score(files, call):
    found = numbers(files / "test.parquet", call, "--val", files / "val.parquet")
    test, val = (read_predictions(files / f"{n}.parquet") for n in ("test", "val"))
    assert found == score(test, val, STRICT, Mean(), Max())
    assert {r.level for r in found.rows} == {"slice", "volume", "breast", "patient"}
    assert found.inference == "random"
    assert found.looked.n_volumes == 12


def test_the_table_says_the_protocol_and_where_it_looked(files, call):
    code, out, _ = call(files / "test.parquet", "--val", files / "val.parquet")
    words = " ".join(out.split())
    assert code == 0
    assert "Protocol strict, version 2" in words
    assert "patient level" in words
    assert "Slice hit" in words
    assert "official metric of DBTex" in words
    assert "seed" not in words.split("Percent.")[0]
    assert "phantom" not in words


def test_a_phantom_is_called_so(tmp_path, call):
    pq.write_table(table("T", 0, phantom="true"), tmp_path / "t.parquet")
    assert "phantom, not patients" in " ".join(call(tmp_path / "t.parquet")[1].split())
    assert numbers(tmp_path / "t.parquet", call).phantom


def test_aggregators_and_their_options(files, call):
    found = numbers(files / "test.parquet", call, "--patch", "top-k", "--set", "patch.k=2")
    test = read_predictions(files / "test.parquet")
    assert found == score(test, None, STRICT, TopK(TopK.Config(k=2)), Max())
    fewer = numbers(files / "test.parquet", call, "--patches", 1)
    assert fewer.patches == 1
    assert fewer == score(test, None, STRICT, Mean(), Max(), 1)


def test_it_runs_without_torch(files):
    """Also where nothing heavy is installed: torch, timm and the reader of images are blocked."""
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'timm', 'lightly', 'lightning_fabric', 'pydicom', 'blosc2'):\n"
        "            raise ImportError(f'{name} is blocked')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from dbtssl.cli.main import main\n"
        f"main(['score', {str(files / 'test.parquet')!r}, '--val', {str(files / 'val.parquet')!r}, "
        "'--slice', 'z-run', '--json'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["volume_aggregator"] == "ZRun"


def test_a_csv_of_volumes(tmp_path, call):
    path = tmp_path / "v.csv"
    path.write_text("volume,patient,label,score\na,p,1,2.0\nb,q,0,1.0\nc,r,0,-1\n")
    found = numbers(path, call)
    assert [r.level for r in found.rows if r.kind == "method"] == ["volume", "patient"]
    assert found.rows[0].values["auc"].value == 1
    code, out, _ = call(path)
    assert code == 0
    assert "No slice level" in " ".join(out.split())
    labels = tmp_path / "l.csv"
    labels.write_text("volume,label\na,normal\nb,cancer\nc,normal\n")
    assert numbers(path, call, "--labels", labels).rows[0].values["auc"].value == 0.5


def test_other_labels_for_a_parquet_file(files, call):
    volumes = sorted(set(pq.read_table(files / "test.parquet")["volume"].to_pylist()))
    labels = files / "labels.csv"
    labels.write_text("volume,label\n" + "".join(f"{v},benign\n" for v in volumes))
    found = numbers(files / "test.parquet", call, "--labels", labels)
    assert next(r for r in found.rows if r.level == "volume").n_neg == 0


def test_detections(tmp_path, call):
    columns = "PatientID,StudyUID,View"
    (tmp_path / "l.csv").write_text(f"{columns},Normal,Actionable,Benign,Cancer\nP,S,lcc,0,0,0,1\n")
    (tmp_path / "b.csv").write_text(
        f"{columns},Slice,X,Y,Width,Height,Class,AD,VolumeSlices\nP,S,lcc,20,500,500,60,80,cancer,0,40\n"
    )
    path = tmp_path / "d.csv"
    path.write_text(f"{columns},X,Width,Y,Height,Z,Depth,Score\nP,S,lcc,510,40,520,40,18,4,0.7\n")
    truth = ("--boxes", tmp_path / "b.csv", "--labels", tmp_path / "l.csv")
    code, out, _ = call(path, *truth, "--json")
    assert code == 0
    assert json.loads(out)["mean_sensitivity_positive"]["value"] == 1
    assert "100.0" in call(path, *truth)[1]
    code, _, err = call(path)
    assert (code, "needs the truth" in err) == (2, True)
    code, _, err = call(path, *truth, "--patch", "max")
    assert code == 2
    assert "--patch means nothing for" in err


def test_what_learns_is_trained_on_the_training_file_or_loaded(files, call):
    from dbtssl.evaluation.aggregation.attention import Attention
    from dbtssl.evaluation.aggregation.trainable import fit, save_state

    for name in ("train", "val", "test"):
        path = files / f"{name}.parquet"
        given = pq.read_table(path)
        cells = [np.array([np.mean(x), 1.0], dtype=np.float16) for x in given["logits"].to_pylist()]
        column = pa.array(cells, type=pa.large_list(pa.float16()))
        said = given.schema.metadata | {b"n_features": b"2"}
        pq.write_table(given.append_column("features", column).replace_schema_metadata(said), path)
    options = ("--slice", "attention", "--set", "slice.steps=10", "--val", files / "val.parquet")
    code, _, err = call(files / "test.parquet", *options)
    assert code == 2
    assert "Attention learns and needs predictions" in err
    trained = numbers(files / "test.parquet", call, *options, "--train", files / "train.parquet")
    learnt = Attention(Attention.Config(steps=10))
    fit(Mean(), learnt, *(read_predictions(files / f"{n}.parquet") for n in ("train", "val")))
    (files / "a.safetensors").write_bytes(save_state(Mean(), learnt))
    assert (
        numbers(files / "test.parquet", call, *options, "--learned", files / "a.safetensors")
        == trained
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["gone.parquet"], "no predictions at"),
        (["gone.csv"], "no such file"),
        (["test.parquet", "--protocol", "strikt"], "Did you mean 'strict'"),
        (["test.parquet", "--patch", "meen"], "no aggregator named 'meen'. Did you mean 'mean'"),
        (["test.parquet", "--patch", "z-run"], "ZRun works at level volume, not slice"),
        (["test.parquet", "--set", "patch.k=3"], "aggregator.mean.k: unknown key"),
        (["test.parquet", "--set", "pach.k=3"], "no such place. Did you mean 'patch'"),
        (["test.parquet", "--patches", "9"], "has 3 patches, 9 are asked for"),
        (
            ["test.parquet", "--val", "test.parquet"],
            "14 patients are in the validation and the test split",
        ),
        (["test.parquet", "--protocol", "as-published"], "were made with random patches"),
        (["test.parquet", "--boxes", "gone.csv"], "--boxes means nothing for"),
        (["test.parquet", "--slice", "attention"], "Attention learns and needs"),
        (["test.parquet", "--train", "train.parquet"], "no aggregator is to be trained"),
        (
            [
                "test.parquet",
                "--val",
                "val.parquet",
                "--slice",
                "attention",
                "--train",
                "test.parquet",
            ],
            "14 patients are in the training and the test predictions",
        ),
        (["test.parquet", "--val", "scores.txt"], "has a name that ends in .csv"),
        (["test.parquet", "--subset", "."], "SIFT-DBT's list and its subset are not both there"),
    ],
)
def test_refusals(files, call, monkeypatch, args, message):
    monkeypatch.chdir(files)
    Path("scores.txt").write_text("volume,patient,label,score\n")
    code, _, err = call(*args)
    assert code == 2, err
    assert message in err
    assert "hint: " in err


def test_slices_that_the_protocol_does_not_label_are_said_to_be_so(files, call):
    bare = table("B", 7).drop_columns(["boxes"])
    pq.write_table(bare, files / "bare.parquet")
    (said,) = numbers(files / "test.parquet", call, "--val", files / "bare.parquet").notes
    assert said.startswith("Slices of the validation split are labelled as the file has them")
    assert "Slices of the test split" in " ".join(call(files / "bare.parquet")[1].split())
    assert numbers(files / "test.parquet", call).notes == ()


def test_a_file_of_the_test_split_chooses_no_threshold(files, call):
    pq.write_table(table("Z", 5, split="test"), files / "other.parquet")
    code, _, err = call(files / "test.parquet", "--val", files / "other.parquet")
    assert code == 2
    assert "the validation predictions are of the test split: their file says so" in err
    pq.write_table(table("Z", 5, split="val"), files / "other.parquet")
    assert call(files / "test.parquet", "--val", files / "other.parquet")[0] == 0
    assert call(files / "other.parquet")[0] == 0  # one may look at validation


def test_oracle_patches_are_scored_as_published_alone(tmp_path, call):
    path = tmp_path / "t.parquet"
    pq.write_table(table("T", 0, inference="oracle"), path)
    code, _, err = call(path)
    assert code == 2
    assert "were made with oracle patches; protocol strict has blind ones" in err
    found = numbers(path, call, "--protocol", "as-published")
    assert all(r.diagnostic for r in found.rows)
    assert found.looked.patch_hit.reason == "the patches were placed over the lesion"
    code, out, _ = call(path, "--protocol", "as-published")
    assert "DIAGNOSTIC, NEVER RANKED" in " ".join(out.split())


def test_a_newer_schema_is_refused(tmp_path, call):
    pq.write_table(table("T", 0, schema="3"), tmp_path / "t.parquet")
    assert "has schema 3, this version reads up to 2" in call(tmp_path / "t.parquet")[2]
    pq.write_table(table("T", 0, schema="two"), tmp_path / "t.parquet")
    assert "expected whole numbers for schema" in call(tmp_path / "t.parquet")[2]


def test_the_page_of_columns_names_them_all():
    from dbtssl.evaluation.predictions.prediction_table import COLUMNS

    page = (Path(__file__).parents[2] / "docs" / "predictions.md").read_text()
    assert [name for name in COLUMNS if f"`{name}`" not in page] == []


AGGREGATORS = """
from dbtssl.api import Config, hookimpl

DBTSSL_API = 1


class Short:
    Config = Config
    level, needs = "any", "logits"

    def __call__(self, groups):
        return groups.values[groups.offsets[1:-1]]


class Forgets(Short):
    def fit(self, train, val):
        raise NotImplementedError


@hookimpl
def register_components(register):
    register("aggregator", "short", f"{__name__}:Short", "a toy")
    register("aggregator", "forgets", f"{__name__}:Forgets", "a toy")
"""


@pytest.mark.parametrize("place", ["patch", "slice", "breast", "patient"])
@pytest.mark.parametrize(
    ("name", "cause"),
    [("short", "expected one score a "), ("forgets", "what it learns would be lost")],
)
def test_an_aggregator_that_breaks_its_promise_is_named_with_its_plugin(
    files, call, place, name, cause
):
    path = files / "toy_scores.py"
    path.write_text(AGGREGATORS)
    add_plugin_file(path)
    registry.cache_clear()
    code, out, err = call(files / "test.parquet", f"--{place}", name)
    assert (code, out) == (2, "")
    assert f"aggregator {name!r} of {path}" in err
    assert cause in err
    assert "hint: " in err
