import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from dbtssl.report.html import figures
from dbtssl.report.html.examples import HEAT_OPACITY, heat_map, score_range, strip
from dbtssl.report.html.page import html_page
from dbtssl.report.html.svg import DASHES, SERIES, inline, panels, plotting
from dbtssl.report.table_cells import clean, interval_text, value_text


@pytest.fixture
def page(page_of):
    return page_of()


def test_the_policy_allows_this_pages_style_and_script_alone(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    rules = dict(
        rule.strip().partition(" ")[::2] for rule in policy.replace("&#39;", "'").split(";")
    )
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_anywhere(page):
    addresses = re.findall(
        r"(?:https?:)?//[\w.]+", re.sub(r"data:image/\w+;base64,[\w+/=]+", "", page)
    )
    assert set(addresses) <= {"http://www.w3.org"}
    assert len(page) < 400_000


def test_every_number_of_the_table_is_in_the_page(content, page):
    made = content()
    text = re.sub(r"<[^>]+>", "", page)
    for row in made.table.rows:
        assert clean(row.method) in text
        for metric in ("auc", "npv", "nr", "ar", "sp@87", "sp@80"):
            cell = row.cells[metric].value
            assert value_text(metric, cell) in text
            assert interval_text(metric, cell) in text
    assert "+20.0**[+8.1, +31.9]" in text
    for note in made.table.notes:
        assert clean(note) in text.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")


def test_the_legend_has_the_colour_and_the_dashes_of_each_curve(content):
    """Of more methods than colours too."""
    made = content()
    many = tuple(replace(made.methods[0], name=f"method-{i}") for i in range(14))
    page = html_page(replace(made, methods=many))
    legend = re.search(r'<p class="legend".*?</p>', page, re.DOTALL)[0]
    found = re.findall(r'class="key c(\d+) d(\d+)".*?</span>([^<]+)</span>', legend)
    expected = [figures.series(i) for i in range(14)]
    assert [name for *_, name in found] == [m.name for m in many]
    assert [(SERIES[int(c)], DASHES[int(d)]) for c, d, _ in found] == [
        (e["color"], e["linestyle"]) for e in expected
    ]


def test_a_phantom_says_so_at_every_figure(page, page_of):
    assert page.count("Phantom") >= 7
    assert "<strong>Phantom.</strong>" in page
    assert "hantom" not in page_of(phantom=False)


def test_without_a_run_that_has_a_score_the_page_still_says_why(content):
    from dataclasses import replace

    empty = replace(content(), methods=(), looked=None, counts=(), audit=())
    text = html_page(empty)
    assert "no memory" in text
    assert "not at hand any more" in text
    assert "<svg" not in text


def test_the_page_names_the_marks_for_those_who_do_not_see_shades(page):
    assert "(cannot be distinguished from the best)" in page
    assert 'lang="en"' in page
    assert page.count("<h1>") == 1


def test_where_it_looked_stands_beside_chance(page):
    text = re.sub(r"<[^>]+>", "", page)
    assert "62.5[57.5, 67.5] chance 37.5" in text
    assert "43.8[38.8, 48.7]" in text or "43.8[38.8, 48.8]" in text
    assert "A hit is a hit." in text


@pytest.fixture
def example(content):
    return content().looked.examples[0]


def test_a_heat_map_is_the_mean_probability_of_the_patches_over_a_place(example):
    heat = heat_map(example)
    assert heat.shape[2] == 4
    cell = 80 / 48 / example.scale
    rows, columns = np.indices(heat.shape[:2])
    y, x = (rows + 0.5) * cell, (columns + 0.5) * cell
    inside = np.array(
        [(y >= t) & (y < t + 64) & (x >= left) & (x < left + 64) for t, left in example.corners]
    )
    assert set(np.unique(heat[..., 3])) == {0, round(255 * HEAT_OPACITY)}
    np.testing.assert_array_equal(heat[..., 3] > 0, inside.any(axis=0))
    import matplotlib as mpl

    both = inside[0] & inside[1] & ~inside[2]
    assert both.any()
    mean = expit(example.logits[:2]).mean()
    assert tuple(heat[both][0][:3]) == mpl.colormaps["inferno"](mean, bytes=True)[:3]


def test_a_strip_brackets_the_annotated_slices_and_marks_the_highest(content):
    profile = content().looked.profiles[0]
    svg = ET.fromstring(strip(profile, *score_range([profile])))
    top = svg.find("rect")
    assert (top.get("class"), top.get("x")) == ("top", "8")  # sin(8) is the largest of sin(0 .. 8)
    assert svg.find("path").get("d").startswith("M3 ")
    assert "H6v" in svg.find("path").get("d")
    assert "highest at slice 9" in svg.get("aria-label")


def test_figures_need_no_style_attribute_and_follow_the_pages_colours(content):
    made = content()
    with plotting():
        svg = figures.roc_figure(made.methods, "volume", (0.87,))
    root = ET.fromstring(svg)
    assert all("style" not in element.attrib for element in root.iter())
    assert root.find(".//style") is None
    colours = {e.get(k) for e in root.iter() for k in ("stroke", "fill") if e.get(k)}
    assert colours <= {
        f"var(--{x})" for x in ("ink", "muted", "rule", "surface", "s0", "s1", "s2")
    } | {"none"}
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert ids
    assert all(i.startswith("roc-volume-") for i in ids)
    used = set(re.findall(r"#(roc-volume-\w+)", svg))
    assert used == set(ids)


def test_equal_contents_give_equal_pages_whatever_a_user_has_set_in_matplotlib(content, page):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert html_page(content()) == page


def test_ids_of_two_figures_do_not_meet():
    with plotting():
        texts = []
        for name in ("a", "b"):
            figure, (axes,) = panels(1, 3, 2)
            axes.plot([0, 1], [0, 1], "o")
            texts.append(str(inline(figure, name, name)))
    first, second = (set(re.findall(r' id="([^"]+)"', text)) for text in texts)
    assert first
    assert not first & second
