"""Figures of matplotlib as inline SVG that follows the page: its colours, its fonts, its content-security policy.

A page whose policy allows no inline style ignores ``style`` attributes, so each becomes presentation attributes.
Colours become variables of the page's style sheet, so that a figure is readable in light and in dark.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow and black, which vanish on white and on black.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))  # a second and third round of the colours
INK, RULE, MUTED, SURFACE = "#000000", "#cccccc", "#777777", "#ffffff"
VARIABLES = {INK: "ink", RULE: "rule", MUTED: "muted", SURFACE: "surface"} | {
    colour: f"s{i}" for i, colour in enumerate(SERIES)
}
RC: dict[str, Any] = {
    "svg.hashsalt": "dbtssl",  # ids that do not change from run to run
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "text.parse_math": False,  # a method may be called $x$
    "text.usetex": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify_threshold": 0.5,
}
DROPPED = {"style", "id", "version", "width", "height", "clip-rule", "xlink"}
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")


@contextmanager
def plotting() -> Iterator[None]:
    """Figures are made and drawn inside this, so that matplotlib's settings are the report's and no user's."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # the page's own fonts show the text; matplotlib only measures it
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(RC)  # type: ignore[arg-type]
        yield


def panels(
    count: int, width: float, height: float, columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` axes, sizes in inches."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    across = columns or count
    down = -(-count // across)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def inline(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an ``<svg>`` element; ``name`` keeps its ids apart, ``label`` says what it shows."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(out.getvalue())
    used = set(_REFERENCE.findall(out.getvalue()))
    used |= set(re.findall(r'href="#([^"]+)"', out.getvalue()))
    for parent in root.iter():
        for child in [c for c in parent if _local(c.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        _clean(element, name, used)
    root.attrib |= {
        "class": "figure",
        "role": "img",
        "aria-label": label,
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    return Markup(ET.tostring(root, encoding="unicode"))


def _clean(element: ET.Element, name: str, used: set[str]) -> None:
    """One element without namespaces, style attributes and long numbers; ids that nothing refers to are left out."""
    element.tag = _local(element.tag)
    given = {_local(key): value for key, value in element.attrib.items()}
    found = _presentation(given.get("style", ""))
    if (identity := given.get("id", "")) in used:
        found["id"] = f"{name}-{identity}"
    found |= {key: value for key, value in given.items() if key not in DROPPED}
    if element.tag in ("image", "rect", "use"):  # their sizes are their own
        found |= {key: given[key] for key in ("width", "height") if key in given}
    for key, value in found.items():
        text = _REFERENCE.sub(lambda m: f"url(#{name}-{m[1]})", value)
        if key == "href" and text.startswith("#"):
            text = f"#{name}-{text[1:]}"
        if key in ("d", "transform", "points", "x", "y", "width", "height", "viewBox"):
            text = _NUMBER.sub(lambda m: f"{float(m[0]):.2f}", text)
        if variable := VARIABLES.get(text):
            text = f"var(--{variable})"
        found[key] = text
    element.attrib.clear()
    element.attrib.update(found)


def _presentation(style: str) -> dict[str, str]:
    """A style attribute as presentation attributes; of a font the size and the weight are kept."""
    out = {}
    for part in filter(None, (text.strip() for text in style.split(";"))):
        key, _, value = part.partition(":")
        key, value = key.strip(), value.strip()
        if key != "font":
            out[key] = value
            continue
        if size := re.search(r"([\d.]+)px", value):
            out["font-size"] = size[1]
        if re.search(r"\b(bold|700)\b", value):
            out["font-weight"] = "bold"
    return out


def _local(name: str) -> str:
    return name.rpartition("}")[2]
