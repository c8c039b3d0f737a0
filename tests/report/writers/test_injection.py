"""A method, run, title or patient may be called anything: no rendering runs it, and none breaks."""

import csv
import io
import re
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from dbtssl.report import runs_compared
from dbtssl.report.build_table import build_table
from dbtssl.report.runs_compared import Change, RankChange, RunsCompared
from dbtssl.report.writers.latex import latex
from dbtssl.report.writers.markdown import markdown
from dbtssl.report.writers.terminal import plain_text, print_table
from dbtssl.report.writers.tidy import parquet, tidy_csv


@pytest.fixture
def named(entry, hostile):
    return build_table(hostile, [entry(hostile, backbone=hostile), entry("b", 0.8)], phantom=False)


class Page(HTMLParser):
    """Elements with their attributes, and the text between them by element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "input", "br", "image", "rect", "path", "use", "line"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))


def test_html(page_of, hostile):
    text = page_of(name=hostile, title=hostile)
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    attributes = [a for _, given in page.elements for a in given]
    assert [a for a in attributes if a.startswith("on") or a == "style"] == []
    links = [
        v for _, given in page.elements for a, v in given.items() if a.endswith(("href", "src"))
    ]
    assert [v for v in links if not v.startswith(("#", "data:image/"))] == []
    assert not re.search(r"[\x00\x1b\u202e\u200b]", text)
    shown = " ".join(words for tag, words in page.texts if tag not in ("script", "style"))
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7*7 }}" in shown
    assert "$x^2$" in shown


def test_markdown(named):
    text = markdown(named)
    assert not re.search(r"<(?!/?ins>)", text)
    assert not re.search(r"[\x00\x1b\u202e\u200b]", text)
    assert not re.search(r"(?<!\\)\[l(?<!\\)\]", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1


def test_latex(named):
    text = latex(named)
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert "\\input" not in code
    assert "\\textbackslash{}input\\{/etc/passwd\\}" in code
    assert not re.search(r"(?<!\\)[#~]", code)
    bare = re.sub(r"\$\\\w+\$", "", code.replace(r"\$", ""))  # our own symbols, and escaped dollars
    assert "$" not in bare
    assert not re.search(r"(?<!\\)%", code)
    opened, closed = (len(re.findall(rf"(?<!\\){x}", code)) for x in ("{", "}"))
    assert opened == closed
    body = code.split("\\midrule")[1].strip().splitlines()
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1
    assert all(line.startswith("%") or line in code.splitlines() for line in text.splitlines())


def test_csv(named):
    for line in csv.DictReader(io.StringIO(tidy_csv(named))):
        for column, cell in line.items():
            if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                float(cell)  # a number of ours, not somebody's name
                assert column not in ("title", "method", "backbone")


def test_parquet_has_no_control_characters(named):
    found = pq.read_table(pa.BufferReader(parquet(named))).to_pylist()
    assert not any(re.search(r"[\x00\x1b\u202e]", r["method"] + r["title"]) for r in found)


@pytest.mark.parametrize("color", [None, "standard"])
def test_terminal(named, color):
    out = io.StringIO()
    console = Console(file=out, width=300, color_system=color, force_terminal=bool(color))
    print_table(named, console)
    text = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue()) if color else out.getvalue()
    assert "[red]x[/red]" in text  # as it is called, not as a colour
    assert not re.search(r"[\x00\x1b\u202e\u200b]", text)
    assert "\x1b" not in plain_text(named)


def test_runs_compared(hostile):
    found = RunsCompared(
        runs=(hostile, "b"),
        pairs=(),
        config=(Change(name=hostile, values=(hostile, None)),),
        environment=(),
        data=(),
        moved=(
            RankChange(
                run="B",
                method=hostile,
                patient=hostile,
                abnormal=True,
                before=1,
                after=3,
                patients=9,
            ),
        ),
        notes=(hostile,),
    )
    out = io.StringIO()
    Console(file=out, width=200).print(runs_compared.renderable(found))
    assert not re.search(r"[\x00\x1b\u202e\u200b]", out.getvalue())
    text = runs_compared.markdown(found)
    assert "<script" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {4, 8}
