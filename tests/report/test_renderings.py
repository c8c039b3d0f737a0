import csv
import errno
import io
import json
import re

import pytest
from rich.console import Console

from dbtssl.errors import DataError
from dbtssl.report.json_ import table_json
from dbtssl.report.markdown import markdown
from dbtssl.report.table import Table, build_table
from dbtssl.report.terminal import plain_text, print_table
from dbtssl.report.tidy import tidy_csv
from dbtssl.report.write import write_table

RENDERINGS = [markdown, tidy_csv, table_json, plain_text]
HOSTILE = "=cmd|'/c calc'!A1 [red]x[/red] <script>alert(1)</script> `a` **b** _c_\n| # [l](u) \x1b[31m\u202e"


MARKDOWN = """\
## Title (phantom, not patients)

### volume level, protocol strict 1, evaluation set bbbbbbbb: 39 abnormal and 3,736 normal volumes, 21 of 843 patients positive

| method | backbone | fine-tuning | epochs | seed | AUC | NPV | NR | AR | SP@87 | SP@80 | pos / neg (patients) | paper AUC |
| :-- | :-- | :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |
| moco-v2 | resnet50 | discriminative | 3/200 | 0 | <ins>85.0</ins> [80.0, 90.0] | 99.81 [94.81, 100.00] | 84.0 [79.0, 89.0] | 84.6 [79.6, 89.6] | 80.9 [75.9, 85.9] | 97.8 [92.8, 100.0] | 39 / 3,736 (21) |  |
| sift-dbt | resnet50 | discriminative | 4000/4000 | 0 | **90.0** [85.0, 95.0] | 99.81 [94.81, 100.00] | 84.0 [79.0, 89.0] | 84.6 [79.6, 89.6] | 80.9 [75.9, 85.9] | 97.8 [92.8, 100.0] | 39 / 3,736 (21) | 92.69 |
| random-init | resnet50 | discriminative |  | 0 | 70.0 [65.0, 75.0] | 99.81 [94.81, 100.00] | 84.0 [79.0, 89.0] | 84.6 [79.6, 89.6] | 80.9 [75.9, 85.9] | 97.8 [92.8, 100.0] | 39 / 3,736 (21) |  |
| *frames in the volume* |  |  |  |  | 50.0 | 50.00 | 50.0 | 50.0 | 50.0 | 50.0 | 39 / 3,736 (21) |  |
| *all-normal* |  |  |  |  | 50.0 | 98.97 | 50.0 | 50.0 | 50.0 | 50.0 | 39 / 3,736 (21) |  |

* A note.
"""  # noqa: E501

TEXT = """\
Title (phantom, not patients)

volume level, protocol strict 1, evaluation set bbbbbbbb: 39 abnormal and 3,736 normal volumes, 21
of 843 patients positive
                      epochs                                                                 paper
method                  seed       AUC          NPV        NR        AR     SP@87      SP@80   AUC
──────────────────────────────────────────────────────────────────────────────────────────────────
moco-v2                3/200     _85.0        99.81      84.0      84.6      80.9       97.8
resnet50,                  0 80.0-90.0 94.81-100.00 79.0-89.0 79.6-89.6 75.9-85.9 92.8-100.0
discriminative
sift-dbt           4000/4000     *90.0        99.81      84.0      84.6      80.9       97.8 92.69
resnet50,                  0 85.0-95.0 94.81-100.00 79.0-89.0 79.6-89.6 75.9-85.9 92.8-100.0
discriminative
random-init                       70.0        99.81      84.0      84.6      80.9       97.8
resnet50,                  0 65.0-75.0 94.81-100.00 79.0-89.0 79.6-89.6 75.9-85.9 92.8-100.0
discriminative

frames in the                     50.0        50.00      50.0      50.0      50.0       50.0
volume
all-normal                        50.0        98.97      50.0      50.0      50.0       50.0

• A note.
• In this text file * stands before the best value and _ before the second.
"""


@pytest.fixture
def table(entry, reported):
    entries = [
        entry("moco-v2", 0.85, epochs_done=3, epochs_planned=200),
        entry("sift-dbt", 0.9, epochs_done=4000, epochs_planned=4000, reported=(reported(),)),
        entry("random-init", 0.7),
    ]
    return build_table("Title", entries, phantom=True, evaluation_sets={"b" * 64: "the-set"})


def body(table):
    """Without the notes, whose words have tests of their own."""
    return Table(table.title, table.rows, ("A note.",))


def test_markdown_in_full(table):
    assert markdown(body(table)) == MARKDOWN


def test_text_in_full(table):
    assert plain_text(body(table), width=98) == TEXT


def test_the_terminal_shows_ranks_and_undertraining_as_styles(table):
    out = io.StringIO()
    console = Console(
        file=out, width=160, force_terminal=True, color_system="standard", legacy_windows=False
    )
    print_table(table, console)
    text = out.getvalue()
    assert "\x1b[1m90.0" in text  # bold
    assert "\x1b[4m85.0" in text  # underlined
    assert "\x1b[31m3/200" in text  # red
    assert "\x1b[31m4000/4000" not in text


@pytest.mark.parametrize("width", [20, 79, 80, 97, 98, 100, 135, 136, 160, 300])
def test_the_terminal_cuts_no_number(table, width):
    """Every value, both ends of its interval and the paper's number are whole; lines fit from 80 columns on."""
    out = io.StringIO()
    print_table(table, Console(file=out, width=width, legacy_windows=False))
    text = out.getvalue()
    assert "…" not in text
    for part in (
        "85.0",
        "99.81",
        "94.81",
        "100.00",
        "97.8",
        "92.8",
        "100.0",
        "39",
        "3,736",
        "92.69",
    ):
        assert part in text
    for pattern in (r"80\.0(, |-)90\.0", r"94\.81(, |-)100\.00", r"92\.8(, |-)100\.0"):
        assert re.search(pattern, text)
    assert "phantom, not patients" in text
    assert max(map(len, text.splitlines())) <= max(width, 80)


def test_csv_is_tidy(table):
    lines = list(csv.DictReader(io.StringIO(tidy_csv(table))))
    assert len(lines) == 5 * 6
    ours = next(line for line in lines if line["method"] == "sift-dbt" and line["metric"] == "auc")
    expected = {
        "title": "Title (phantom, not patients)",
        "level": "volume",
        "value": "90.0",
        "low": "85.0",
        "high": "95.0",
        "rank": "best",
        "paper": "92.69",
        "reason": "",
        "epochs_done": "4000",
        "n_pos": "39",
        "n_neg": "3736",
        "n_pos_patients": "21",
        "threshold": "-1.25",
        "evaluation_set": "b" * 64,
    }
    assert {name: ours[name] for name in expected} == expected
    shortcut = next(line for line in lines if line["kind"] == "shortcut")
    assert (shortcut["low"], shortcut["seed"], shortcut["reason"]) == (
        "",
        "",
        "all scores are equal",
    )


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\t=1", " =1", "\x00=1"])
def test_csv_text_is_no_formula_and_numbers_stay(entry, name):
    table = build_table(name, [entry(name, backbone=name, finetuner=name)], phantom=False)
    line = next(csv.DictReader(io.StringIO(tidy_csv(table))))
    for column in ("title", "method", "backbone", "finetuner"):
        assert line[column].startswith("'")
    assert line["threshold"] == "-1.25"


def test_json_holds_everything(table):
    data = json.loads(table_json(table))
    assert data["title"] == "Title (phantom, not patients)"
    assert data["notes"] == list(table.notes)
    first = data["rows"][0]
    low, high = pytest.approx(0.8), pytest.approx(0.9)
    assert first["cells"]["auc"]["value"] == {"value": 0.85, "low": low, "high": high, "reason": ""}
    assert first["cells"]["auc"]["rank"] == "second"
    assert first["evaluation_set"] == "b" * 64


def test_a_hostile_name_is_inert(entry):
    table = build_table(HOSTILE, [entry(HOSTILE, backbone=HOSTILE), entry("b", 0.8)], phantom=False)
    text = markdown(table)
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {14}
    shown = plain_text(table, width=300)
    assert "[red]x[/red]" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("render", RENDERINGS)
def test_what_is_not_known_is_empty_and_never_nan(entry, without_values, render):
    """Rows without a value, failed runs, and no row at all."""
    for entries in ([without_values, entry(failure="no memory")], [entry(failure="no memory")], []):
        text = render(build_table("Title", entries, phantom=False))
        assert not re.search(r"\b(nan|inf|infinity|none)\b", text.lower())
        assert not re.search(r"\b0\.0\b", text)


def test_empty_cells_in_full(without_values):
    text = markdown(body(build_table("Title", [without_values], phantom=False)))
    assert text.splitlines()[-5] == (
        "| sift-dbt | resnet50 | linear |  | 0 |  |  |  |  |  |  | 39 / 3,736 (21) |  |"
    )


def test_all_files_are_written_and_the_same_again(table, tmp_path):
    paths = write_table(table, tmp_path / "new" / "runs")
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.json", "table.txt"]
    before = [path.read_bytes() for path in paths]
    assert all(text.endswith(b"\n") and b"\r" not in text for text in before)
    assert all(b"phantom, not patients" in text for text in before)
    write_table(table, tmp_path / "new" / "runs")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.rglob("*.*")) == sorted(paths)


def test_a_full_disk_leaves_the_old_files(table, tmp_path, monkeypatch):
    paths = write_table(table, tmp_path)
    before = [path.read_bytes() for path in paths]

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"cannot write the table to .*No space left on device"):
        write_table(build_table("Other", [], phantom=False), tmp_path)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_folder_that_is_a_file(table, tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(DataError, match="cannot write the table to"):
        write_table(table, tmp_path / "runs")
