import csv
import errno
import io
import json
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from dbtssl.errors import DataError
from dbtssl.report.build_table import build_table
from dbtssl.report.writers.latex import latex
from dbtssl.report.writers.markdown import markdown
from dbtssl.report.writers.terminal import plain_text, print_table
from dbtssl.report.writers.tidy import parquet, records, table_json, tidy_csv
from dbtssl.report.writers.write_table import write_table

RENDERINGS = [markdown, latex, tidy_csv, table_json, plain_text]
NAMES = [f"table.{x}" for x in ("md", "tex", "csv", "parquet", "json", "txt")]


MARKDOWN = """\
## Title (phantom, not patients)

### volume level, protocol strict 2, evaluation set bbbbbbbb: 39 abnormal and 3,736 normal volumes, 21 of 843 patients positive, resnet50, discriminative fine-tuning, seed 0

| method | epochs | AUC | ΔAUC | NPV | NR | AR | SP@87 | SP@80 | paper AUC |
| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |
| random-init |  | 70.0 [65.0, 75.0] |  | 99.81 [94.81, 100.00] | 84.0 [79.0, 89.0] | 84.6 [79.6, 89.6] | 80.9 [75.9, 85.9] | 97.8 [92.8, 100.0] |  |
| moco-v2 | 3/200 | <ins>85.0</ins>† [80.0, 90.0] | +15.0 [-1.2, +31.2] | 99.81 [94.81, 100.00] | 84.0 [79.0, 89.0] | 84.6 [79.6, 89.6] | 80.9 [75.9, 85.9] | 97.8 [92.8, 100.0] |  |
| sift-dbt | 4000/4000 | **90.0** [85.0, 95.0] | +20.0\\*\\* [+8.1, +31.9] | 99.81 [94.81, 100.00] | 84.0 [79.0, 89.0] | 84.6 [79.6, 89.6] | 80.9 [75.9, 85.9] | 97.8 [92.8, 100.0] | 92.69 |
| *frames in the volume* |  | 50.0 |  | 50.00 | 50.0 | 50.0 | 50.0 | 50.0 |  |
| *all-normal* |  | 50.0 |  | 98.97 | 50.0 | 50.0 | 50.0 | 50.0 |  |

* A note.
"""  # noqa: E501

TEXT = """\
Title (phantom, not patients)

volume level, protocol strict 2, evaluation set bbbbbbbb: 39 abnormal and 3,736 normal volumes, 21
of 843 patients positive
resnet50, discriminative fine-tuning, seed 0
method              epochs       AUC          ΔAUC          NPV        NR        AR paper AUC
─────────────────────────────────────────────────────────────────────────────────────────────
random-init                   70.0                        99.81      84.0      84.6
                           65.0–75.0               94.81–100.00 79.0–89.0 79.6–89.6
moco-v2              3/200    85.0²†         +15.0        99.81      84.0      84.6
                           80.0–90.0 -1.2 to +31.2 94.81–100.00 79.0–89.0 79.6–89.6
sift-dbt         4000/4000    90.0¹        +20.0**        99.81      84.0      84.6     92.69
                           85.0–95.0 +8.1 to +31.9 94.81–100.00 79.0–89.0 79.6–89.6

frames in the                 50.0                        50.00      50.0      50.0
volume
all-normal                    50.0                        98.97      50.0      50.0

• A note.
• ¹ marks the best value and ² the second, where bold and underline cannot be shown.
• Left out at 98 columns: SP@87, SP@80. A wider terminal shows them, and so do --cols and
  table.csv.
"""

LATEX = """\
% needs \\usepackage{booktabs} and \\usepackage[table]{xcolor}
% Title (phantom, not patients)
\\begin{table}
\\centering\\small
\\caption{Title (phantom, not patients). volume level, protocol strict 2, evaluation set bbbbbbbb: 39 abnormal and 3,736 normal volumes, 21 of 843 patients positive, resnet50, discriminative fine-tuning, seed 0}
\\begin{tabular}{lrrrrrrrrr}
\\toprule
method & epochs & AUC & $\\Delta$AUC & NPV & NR & AR & SP@87 & SP@80 & paper AUC \\\\
\\midrule
random-init &  & 70.0 {\\scriptsize [65.0, 75.0]} &  & 99.81 {\\scriptsize [94.81, 100.00]} & 84.0 {\\scriptsize [79.0, 89.0]} & 84.6 {\\scriptsize [79.6, 89.6]} & 80.9 {\\scriptsize [75.9, 85.9]} & 97.8 {\\scriptsize [92.8, 100.0]} &  \\\\
moco-v2 & 3/200 & \\cellcolor[gray]{0.9}\\underline{85.0} {\\scriptsize [80.0, 90.0]} & +15.0 {\\scriptsize [-1.2, +31.2]} & 99.81 {\\scriptsize [94.81, 100.00]} & 84.0 {\\scriptsize [79.0, 89.0]} & 84.6 {\\scriptsize [79.6, 89.6]} & 80.9 {\\scriptsize [75.9, 85.9]} & 97.8 {\\scriptsize [92.8, 100.0]} &  \\\\
sift-dbt & 4000/4000 & \\textbf{90.0} {\\scriptsize [85.0, 95.0]} & +20.0** {\\scriptsize [+8.1, +31.9]} & 99.81 {\\scriptsize [94.81, 100.00]} & 84.0 {\\scriptsize [79.0, 89.0]} & 84.6 {\\scriptsize [79.6, 89.6]} & 80.9 {\\scriptsize [75.9, 85.9]} & 97.8 {\\scriptsize [92.8, 100.0]} & 92.69 \\\\
\\midrule
\\textit{frames in the volume} &  & 50.0 &  & 50.00 & 50.0 & 50.0 & 50.0 & 50.0 &  \\\\
\\textit{all-normal} &  & 50.0 &  & 98.97 & 50.0 & 50.0 & 50.0 & 50.0 &  \\\\
\\bottomrule
\\end{tabular}
\\end{table}
% A note.
"""  # noqa: E501


def body(table):
    """Without the notes, whose words have tests of their own."""
    return replace(table, notes=("A note.",))


def test_markdown_in_full(table):
    assert markdown(body(table)) == MARKDOWN


def test_text_in_full(table):
    assert plain_text(body(table), width=98) == TEXT


def test_latex_in_full(table):
    assert latex(body(table)) == LATEX


def test_the_terminal_shows_ranks_and_undertraining_as_styles(table):
    out = io.StringIO()
    console = Console(
        file=out, width=160, force_terminal=True, color_system="standard", legacy_windows=False
    )
    print_table(table, console)
    text = out.getvalue()
    assert "¹" not in text
    assert "\x1b[1m90.0" in text  # bold
    assert "\x1b[4m85.0" in text  # underlined
    assert "\x1b[31m3/200" in text  # red
    assert "\x1b[31m4000/4000" not in text


def printed(table, width):
    out = io.StringIO()
    print_table(table, Console(file=out, width=width, legacy_windows=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 39, 40, 60, 79, 80, 97, 98, 100, 119, 120, 135, 160, 300])
def test_the_terminal_cuts_no_number(table, width):
    """What is shown is whole, with both ends of its interval; what is not shown is named; lines fit from 40 columns."""
    text = printed(table, width)
    assert "…" not in text
    assert "phantom, not patients" in text
    assert max(map(len, text.splitlines())) <= max(width, 40)
    words = " ".join(text.split())
    shown = {
        "AUC": r"85\.0²?†.*80\.0(, |–)90\.0",
        "ΔAUC": r"\+20\.0\*\*.*\+8\.1(, | to )\+31\.9",
        "NPV": r"99\.81.*94\.81(, |–)100\.00",
        "SP@80": r"97\.8.*92\.8(, |–)100\.0",
        "paper AUC": r"92\.69",
    }
    left_out = re.search(r"Left out at \d+ columns: (.*?)\.", words)
    missing = left_out[1].split(", ") if left_out else []
    assert "AUC" not in missing
    for label, pattern in shown.items():
        assert (label in missing) != bool(re.search(pattern, text, re.DOTALL)), label
    assert bool(missing) == (width < 110)


def test_eighty_columns_hold_what_decides(table):
    heading = next(x for x in printed(table, 80).splitlines() if x.startswith("method"))
    assert heading.split() == ["method", "epochs", "AUC", "ΔAUC", "NPV", "paper", "AUC"]


def test_digits_stand_below_digits_beside_marks(table):
    lines = printed(table, 140).splitlines()
    values = [next(x for x in lines if x.startswith(m)) for m in ("random", "moco", "sift", "all")]
    assert (
        len(
            {
                line.index(v)
                for line, v in zip(values, ("70.0", "85.0", "90.0", "50.0"), strict=True)
            }
        )
        == 1
    )


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
        "baseline": "random-init",
        "difference": "20.0",
        "difference_low": "8.1",
        "difference_high": "31.9",
        "p_holm": "0.002",
        "tied": "False",
        "unit": "percent",
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


def test_parquet_holds_the_same_records_typed(table):
    found = pq.read_table(pa.BufferReader(parquet(table)))
    assert found.to_pylist() == list(records(table))
    assert found.schema.field("value").type == pa.float64()
    assert found.schema.field("tied").type == pa.bool_()
    ours = [r for r in found.to_pylist() if (r["method"], r["metric"]) == ("sift-dbt", "auc")]
    assert [(r["value"], r["difference_low"], r["paper"]) for r in ours] == [(90.0, 8.1, 92.69)]


def test_json_holds_everything(table):
    data = json.loads(table_json(table))
    assert data["title"] == "Title (phantom, not patients)"
    assert data["notes"] == list(table.notes)
    first = data["rows"][1]
    low, high = pytest.approx(0.8), pytest.approx(0.9)
    assert first["cells"]["auc"]["value"] == {"value": 0.85, "low": low, "high": high, "reason": ""}
    assert first["cells"]["auc"]["rank"] == "second"
    assert first["cells"]["auc"]["tied"] is True
    assert first["evaluation_set"] == "b" * 64
    assert first["differences"]["auc"]["p_holm"] == 0.06


@pytest.mark.parametrize("render", RENDERINGS)
def test_what_is_not_known_is_empty_and_never_nan(entry, without_values, render):
    """Rows without a value, failed runs, and no row at all."""
    for entries in ([without_values, entry(failure="no memory")], [entry(failure="no memory")], []):
        text = render(build_table("Title", entries, phantom=False))
        assert not re.search(r"\b(nan|inf|infinity|none)\b", text.lower())
        assert not re.search(r"\b0\.0\b", text)


def test_empty_cells_in_full(without_values):
    text = markdown(body(build_table("Title", [without_values], phantom=False)))
    assert text.splitlines()[4:7] == ["| method |", "| :-- |", "| sift-dbt |"]


def test_all_files_are_written_and_the_same_again(table, tmp_path):
    paths = write_table(table, tmp_path / "new" / "runs")
    assert [path.name for path in paths] == NAMES
    before = [path.read_bytes() for path in paths]
    assert all(x.endswith(b"\n") and b"\r" not in x for x in before if not x.startswith(b"PAR1"))
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
