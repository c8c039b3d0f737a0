"""The scripts on a small run: minutes of a busy core."""

import json
import sys

import pytest

from dbtssl.benchmark.keep_results import benchmark
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.config import validate
from dbtssl.errors import DataError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    fields = {
        "name": "tiny",
        "methods": ["random-init", "implants-no-labels"],
        "data": {"phantom": {"patients": 16, "rows": 96, "seed": 1, "repeat_study": 0.0}},
        "split": {"ratios": [0.5, 0.25, 0.25]},
        "backbone": {"args": {"base_channels": 8}},
        "pretrain": {"epochs": 1, "batch_size": 16},
        "objective": {"implants": {"crop_size": 64, "crop_scale": [0.3, 0.6]}},
        "predict": {"patches": 1, "patch_size": 64},
        "method": {
            "random-init": {"finetune": {"epochs": 1, "steps_per_epoch": 2, "val_patches": 1}}
        },
        "monitor": {"every": 0},
    }
    benchmark(validate(Spec, fields), out)
    return out


def test_localisation(localisation, phantom_run, runs, tmp_path, monkeypatch, capsys):
    out, picture = tmp_path / "found.json", tmp_path / "spots.png"
    words = [
        "script",
        str(runs / "tiny"),
        "--out",
        str(out),
        "--picture",
        str(picture),
        "--limit",
        "3",
    ]
    monkeypatch.setattr(sys, "argv", words)
    localisation.main()
    found = json.loads(out.read_text())
    assert found["test_slices"] == 3
    assert set(found["methods"]) == {"implants-no-labels", "brightness", "blob filter", "chance"}
    assert len(found["validation"]) == 4 + 3  # maps and widths
    assert "implants-no-labels minus blob filter" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    phantom = phantom_run.open_phantom(runs / "tiny")
    truth = json.loads((_root(phantom) / "phantom-truth.json").read_text())
    columns, *rows = truth["innocent"]
    for of in localisation.lesion_slices(phantom, phantom.data.split.test):
        own = [r for r in rows if r[:3] == [of.volume.patient, of.volume.study, of.volume.view]]
        assert [dict(zip(columns, r, strict=True))["kind"] for r in own] == [
            k for k, _ in of.things
        ]


def test_mechanism(mechanism, runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["script", str(runs / "tiny"), "--out", str(out)])
    mechanism.main()
    found = json.loads(out.read_text())
    assert set(found["rows"]) == {"random-init", "implants-no-labels"}
    assert found["rows"]["implants-no-labels"]["share"]["mean"] > 0
    assert found["rows"]["random-init"]["auc"][str(runs / "tiny")]["mean"] is not None
    assert "fewer than 4 rows" in capsys.readouterr().out


def _root(phantom):
    from dbtssl.benchmark.inputs.open_dataset import phantom_root

    return phantom_root(phantom.run.spec)


def test_kinds(kinds, phantom_run, runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["script", str(runs / "tiny"), "--out", str(out)])
    kinds.main()
    found = json.loads(out.read_text())["runs"]["tiny"]
    assert found["baseline"] == "random-init"
    phantom = phantom_run.open_phantom(runs / "tiny")
    ill = [phantom.data.dataset.cohort[i] for i in phantom.data.split.test]
    ill = [v for v in ill if v.boxes]
    assert set(found["kinds"]) == {"all"} | {phantom.planned[v.id].lesion.kind for v in ill}
    assert "PHANTOM, 100 % of the labels" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["script", str(runs / "tiny"), "--equal-depth"])
    kinds.main()
    assert "100 % of the labels, slices of equal depth" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["script", str(runs / "tiny"), "--against", "nobody"])
    with pytest.raises(DataError, match="nobody"):
        kinds.main()


def test_places(places, phantom_run, runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["script", str(runs / "tiny"), "--out", str(out)])
    places.main()
    found = json.loads(out.read_text())["runs"]["tiny"]
    phantom = phantom_run.open_phantom(runs / "tiny")
    test = [phantom.data.dataset.cohort[i] for i in phantom.data.split.test]
    normal = sum(v.label.name == "NORMAL" for v in test)
    assert found["patches"] == {
        "lesion": sum(len(v.boxes) for v in test),
        "blind": places.EACH * normal,
        "matched": places.EACH * normal,
    }
    assert set(found["rows"]) == {"random-init", "implants-no-labels"}
    assert "AUC of patches" in capsys.readouterr().out
