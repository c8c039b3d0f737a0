"""The page: figures, tables and words of a report's content in one file that needs no other, and no network.

Whatever a method, a run or a volume is called passes through Jinja's escaping. The content-security policy allows the
page's own style sheet and script by their hashes and nothing else, so that a name that got through could still not
run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

import dbtssl
from dbtssl.evaluation.metrics.roc_bands import BAND_DRAWS
from dbtssl.evaluation.statistics.intervals import MIN_PATIENTS
from dbtssl.report.html import figures
from dbtssl.report.html.examples import heat_slice, plain_slice, score_range, strip
from dbtssl.report.html.html_tables import audit_rows, html_tables, place_rows
from dbtssl.report.html.svg import SERIES, plotting
from dbtssl.report.query import ON_SCREEN
from dbtssl.report.row_differences import unlike_text
from dbtssl.report.table_cells import clean

if TYPE_CHECKING:
    from dbtssl.interfaces import Level
    from dbtssl.report.html.content import Content, Examples

SENSITIVITIES = (0.87, 0.80)  # drawn across the ROC curves: those of SP@87 and SP@80


def html_page(content: Content) -> str:
    """The whole page; equal contents give equal text."""
    style, script = _asset("report.css"), _asset("report.js")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["clean"] = clean
    colours = {method.name: i for i, method in enumerate(content.methods)}
    with plotting():
        drawn = _figures(content)
    return environment.get_template("report.html.j2").render(
        content=content,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        tables=html_tables(content.table, colours),
        colours=len(SERIES),
        draws=BAND_DRAWS,
        bands=figures.BANDS,
        min_patients=MIN_PATIENTS,
        figures=drawn,
        strips=_strips(content.looked),
        slices=_slices(content.looked),
        places=place_rows(content.methods),
        rule=next((s.looked.rule for m in content.methods for s in m.seeds if s.looked), ""),
        audit=audit_rows(content.audit),
        version=dbtssl.__version__,
        config=json.dumps(content.provenance.config, indent=2, sort_keys=True),
    )


def _asset(name: str) -> str:
    return files("dbtssl.report.html").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded or run but this page's own style sheet and script, and images that it carries."""

    def hashed(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashed(style)}'; "
        f"script-src 'sha256-{hashed(script)}'; base-uri 'none'; form-action 'none'"
    )


def _figures(content: Content) -> dict[str, Any]:
    methods = content.methods
    out: dict[str, Any] = dict.fromkeys(
        ("roc", "patches", "scores", "reliability", "training", "forest")
    )
    if not methods:
        return out
    levels: list[Level] = [
        level for level in ("volume", "slice") if all(level in m.seeds[0].sets for m in methods)
    ]
    out["roc"] = [figures.roc_figure(methods, x, SENSITIVITIES) for x in levels]
    curves = [
        x
        for x in levels
        if any(p.level == x for m in methods for s in m.seeds for p in s.patch_curve)
    ]
    if curves:
        out["patches"] = figures.patch_figure(methods, curves)
    out["scores"] = [figures.histogram_figure(methods, level) for level in levels]
    out["reliability"] = figures.reliability_figure(methods)
    out["training"] = figures.training_figure(methods)
    if rows := _forest(content):
        out["forest"] = figures.forest_figure(rows)
    return out


def _forest(content: Content) -> list[tuple[str, int, float, float | None, float | None]]:
    """The differences of AUC to the baseline, in points of percent, levels together."""
    numbers = {method.name: i for i, method in enumerate(content.methods)}
    return [
        (
            f"{figures.short(row.method)}, {row.level}s {unlike_text(row.unlike)}".rstrip(),
            numbers.get(row.method, 0),
            100 * d.difference,
            None if d.low is None else 100 * d.low,
            None if d.high is None else 100 * d.high,
        )
        for row in content.table.rows
        if row.level in ON_SCREEN
        and (d := row.differences.get("auc")) is not None
        and d.difference is not None
    ]


def _strips(looked: Examples | None) -> list[tuple[str, list[Any]]]:
    """Strips by what became of the volume."""
    if looked is None or not looked.profiles:
        return []
    low, high = score_range(looked.profiles)
    out: dict[str, list[Any]] = {}
    for p in looked.profiles:
        out.setdefault(p.outcome, []).append((p, strip(p, low, high)))
    return list(out.items())


def _slices(looked: Examples | None) -> list[Any]:
    if looked is None:
        return []
    return [(e, plain_slice(e), heat_slice(e)) for e in looked.examples]
