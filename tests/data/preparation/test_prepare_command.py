"""``dbtssl data prepare`` as it is typed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dbtssl.cli.data_commands.data_prepare import command
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.errors import ConfigError, DataError


def typed(tree, out, *options):
    return CliRunner().invoke(command, ["bcs-dbt", str(tree.root), str(out), *options, "--jobs=1"])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ([], (150, 120)),
        (["--resolution", "native"], (150, 120)),
        (["--resolution", "half"], (75, 60)),
        (["--resolution", "40"], (50, 40)),
        (["--short-side", "40"], (50, 40)),
        (["--resolution", "40", "--short-side", "40"], (50, 40)),
        (["--resolution", "half", "--short-side", "40"], (50, 40)),
    ],
)
def test_resolutions(tree, tmp_path, options, shape):
    tree.add("P1", label="cancer", compress=True).tables()
    done = typed(tree, tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    volume = PreparedDataset.open(tmp_path / "out").cohort[0]
    assert (volume.rows, volume.columns) == shape
    assert "out: 1 volumes, digest" in done.stdout


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--resolution", "quarter"], "'quarter' is none of"),
        (["--resolution", "15"], "'15' is none of"),
        (
            ["--resolution", "64", "--short-side", "32"],
            "--resolution 64 and --short-side 32 differ",
        ),
        (["--max-bad", "-1"], "-1 is not in the range x>=0"),
    ],
)
def test_options_that_make_no_sense_are_refused(tree, tmp_path, options, match):
    done = typed(tree, tmp_path / "out", *options)
    assert done.exit_code == 2
    assert match in done.output
    assert not (tmp_path / "out").exists()


def test_bad_volumes_are_told(small_tree, tmp_path):
    BcsDbt().volumes(small_tree.root)[2].path.write_bytes(b"no DICOM")
    refused = typed(small_tree, tmp_path / "out")
    assert isinstance(refused.exception, DataError)
    done = typed(small_tree, tmp_path / "out", "--max-bad", "1")
    assert done.exit_code == 0, done.output
    assert f"{tmp_path}/out/quarantine.csv: 1 left out" in done.stdout
    counts = json.loads((tmp_path / "out" / "dataset.json").read_text())["counts"]
    assert (counts["volumes"], counts["quarantined"]) == (5, 1)


def test_an_unknown_option_of_the_source_is_refused(small_tree, tmp_path):
    done = typed(small_tree, tmp_path / "out", "--set", "rots=[]")
    assert isinstance(done.exception, ConfigError)
    assert "rots" in done.exception.message
