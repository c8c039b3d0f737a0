"""The command's words, refusals and numbers; the index is small and the network is a function of the test."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from dbtssl.cli.data_commands.data_download import command
from dbtssl.cli.main import main
from dbtssl.data.download import download
from dbtssl.data.download import series_index as download_index
from dbtssl.data.download.series_index import Index, Series

GB = 10**9


@pytest.fixture(autouse=True)
def index(monkeypatch):
    """Three patients: studies 1, 2, 1; volumes 4, 4, 2; each volume 75 MB."""
    studies = [("DBT-P1", "a", 4), ("DBT-P2", "b", 2), ("DBT-P2", "c", 2), ("DBT-P3", "d", 2)]
    series = tuple(
        Series(patient, study, f"{study}.{i}", "MG", 75_000_000, "CC BY-NC 4.0")
        for patient, study, n in studies
        for i in range(n)
    )
    monkeypatch.setattr(download_index, "shipped_index", lambda: Index("25.0.5", series))
    return series


@pytest.fixture(autouse=True)
def network(monkeypatch):
    """What was asked of the network; every file that arrives is a hole of the right size."""
    asked = []

    def connect(selected, source):
        def fetch(batch, out):
            asked.append((source, [one.uid for one in batch]))
            for one in batch:
                path = download.folder_of(one, out) / "0a1b.dcm"
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    file.truncate(one.size)

        return fetch

    monkeypatch.setattr(download, "idc_fetch", connect)
    return asked


@pytest.fixture(autouse=True)
def disk(monkeypatch):
    usage = SimpleNamespace(free=100 * GB)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    return usage


def run(*args, answer=None):
    words = ["data", "download", *(str(arg) for arg in args)]
    return CliRunner().invoke(main, words, input=answer, prog_name="dbtssl")


def refusal(*args):
    """The message of a call that is refused, without the frame and line ends that click puts around its own."""
    result = run(*args)
    assert result.exit_code == 2
    return " ".join(result.stderr.replace("│", " ").split())


def test_shows_sizes_licence_and_citation_and_fetches_nothing_in_a_dry_run(tmp_path, network):
    out = tmp_path / "out"
    result = run(out, "--dry-run")
    assert result.exit_code == 0
    head, units, *rest = result.stdout.splitlines()
    assert head == "BCS-DBT at the NCI Imaging Data Commons, index 25.0.5"
    assert units.split() == ["patients", "studies", "volumes", "size"]
    assert [line.split() for line in rest[:4]] == [
        ["selected", "3", "4", "10", "750.0", "MB"],
        ["already", "there", "0", "0", "0", "0.0", "MB"],
        ["to", "fetch", "3", "4", "10", "750.0", "MB"],
        ["free", "on", "disk", "100.0", "GB"],
    ]
    assert {len(line) for line in (units, *rest[:4])} == {58}  # aligned
    assert rest[4] == "licence: CC BY-NC 4.0"
    assert "doi 10.7937/E4WT-CD02" in rest[5]
    assert "doi 10.1001/jamanetworkopen.2021.19100" in rest[6]
    assert network == []
    assert not out.exists()


def test_fetches_what_was_selected_and_says_what_is_next(tmp_path, network):
    assert run(tmp_path, "--limit", 1, "--yes").exit_code == 0
    result = run(tmp_path, "--limit", 2, "--yes", "--source", "gcs")
    assert network == [
        ("aws", ["a.0", "a.1", "a.2", "a.3"]),
        ("gcs", ["b.0", "b.1", "c.0", "c.1"]),
    ]
    lines = result.stdout.splitlines()
    assert lines[3].split() == ["already", "there", "1", "1", "4", "300.0", "MB"]
    assert lines[-3] == f"{tmp_path}: 8 volumes, 600.0 MB"
    assert lines[-1].strip() == f"dbtssl data check {tmp_path}"
    assert run(tmp_path, "--limit", 2).exit_code == 0  # nothing to ask about
    assert len(network) == 2


def test_asks_first(tmp_path, network):
    result = run(tmp_path, answer="n\n")
    assert result.exit_code == 0
    assert f"fetch 10 volumes, 750.0 MB, into {tmp_path}? [y/N]" in result.stderr
    assert result.stderr.endswith("nothing fetched\n")
    assert run(tmp_path, answer="").exit_code == 1  # nobody to ask
    assert network == []
    assert run(tmp_path, answer="y\n").exit_code == 0
    assert len(network) == 1


def test_a_disk_that_is_too_small_is_shown_and_refused(tmp_path, disk, network):
    disk.free = GB + 749_000_000
    shown = run(tmp_path, "--dry-run")
    assert shown.exit_code == 0
    assert "it does not fit: 1.0 GB of the disk are kept free" in shown.stdout
    assert "750.0 MB to fetch, 1.7 GB free" in refusal(tmp_path, "--yes")
    assert network == []


def test_prints_json_alone_on_standard_output(tmp_path):
    result = run(tmp_path, "--limit", 1, "--yes", "--json")
    facts = json.loads(result.stdout)
    one = {"patients": 1, "studies": 1, "volumes": 4, "bytes": 300_000_000}
    assert facts["selected"] == facts["to_fetch"] == one
    assert facts["already_there"] == dict.fromkeys(one, 0)
    assert (facts["free_bytes"], facts["fits"], facts["index"]) == (100 * GB, True, "25.0.5")
    assert facts["licences"] == ["CC BY-NC 4.0"]
    assert facts["out"] == str(tmp_path)
    assert len(facts["cite"]) == 2
    assert f"dbtssl data check {tmp_path}" in result.stderr


def table(path, *patients, columns="PatientID,StudyUID,View"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([columns, *(f"{p},S{p},lcc" for p in patients)]) + "\n")


def selected(*args):
    result = run(*args, "--dry-run", "--json")
    assert result.exit_code == 0, result.exception
    return [json.loads(result.stdout)["selected"][name] for name in ("patients", "volumes")]


def test_selects_a_published_split_by_tables_in_out_or_elsewhere(tmp_path):
    table(tmp_path / "BCS-DBT-labels-test-PHASE-2.csv", "DBT-P3")
    assert selected(tmp_path, "--split", "test") == [1, 2]
    assert selected(tmp_path / "out", "--split", "test", "--tables", tmp_path) == [1, 2]
    assert "no published table of train" in refusal(tmp_path, "--split", "train", "--dry-run")


def test_selects_a_part_of_a_split_that_comes_as_lists(tmp_path):
    lists = tmp_path / "lists"
    table(lists / "BCS-DBT_val_label_v2.csv", "DBT-P1")
    table(lists / "BCS-DBT_test_label_v2.csv", "DBT-P3")
    table(lists / "BCS-DBT-labels-train-v2.csv", "DBT-P1", "DBT-P2", "DBT-P3")
    counts = {"train": [1, 4], "val": [1, 4], "test": [1, 2]}
    for part, expected in counts.items():
        assert selected(tmp_path, "--split-from", lists, "--part", part) == expected


def test_selects_listed_patients_and_options_narrow_each_other(tmp_path):
    file = tmp_path / "patients.txt"
    file.write_text("DBT-P2\nDBT-P3\n")
    assert selected(tmp_path, "--patients", file) == [2, 6]
    assert selected(tmp_path, "--patients", file, "--limit", "1") == [1, 4]
    table(tmp_path / "BCS-DBT-labels-test-v2.csv", "DBT-P1", "DBT-P3")
    assert selected(tmp_path, "--patients", file, "--split", "test") == [1, 2]
    file.write_text("DBT-P9\n")
    stranger = refusal(tmp_path, "--patients", file, "--dry-run")
    assert "1 of 1 patients are not in the index: DBT-P9" in stranger


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--split-from", "lists"], "--split-from and --part go together"),
        (["--part", "test"], "--split-from and --part go together"),
        (["--tables", "tables"], "--tables is for --split"),
        (["--limit", "0"], "0 is not in the range x>=1"),
        (["--split", "val"], "'val' is not one of 'train', 'validation', 'test'"),
    ],
)
def test_a_wrong_call_exits_with_2(args, message, tmp_path):
    assert message in refusal(tmp_path, *args)


def test_help_ends_with_an_example_that_parses():
    result = run("--help")
    assert result.exit_code == 0
    example = command.epilog.removeprefix("Example: dbtssl data download ")
    assert " ".join(result.output.split()).endswith(example)
    group = main.make_context("dbtssl", ["data"])
    assert command.make_context("download", example.split(), parent=group).params["dry_run"]
