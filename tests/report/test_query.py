import pytest

from dbtssl.errors import ConfigError
from dbtssl.report.build_table import build_table
from dbtssl.report.query import overview, screen, select
from dbtssl.report.table_columns import COLUMNS


@pytest.fixture
def wide(entry):
    both = ("slice", "volume")
    entries = [
        entry(name, auc, levels=both, seed=seed)
        for name, aucs in (("b", (0.8, 0.9)), ("a", (0.6,)), ("c", (0.7,)))
        for seed, auc in enumerate(aucs)
    ]
    return build_table("T", [*entries, entry("d", failure="no memory")], phantom=False)


def methods(table, level="volume"):
    return [(r.method, r.seed) for r in table.rows if r.level == level and r.kind == "method"]


def test_rows_of_one_level(wide):
    found = select(wide, where="level=volume")
    assert {row.level for row in found.rows} == {"volume"}
    assert len(found.rows) == len(wide.rows) / 2


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("method=B", {("b", None), ("b", 0), ("b", 1)}),
        ("method!=b & kind=method", {("a", 0), ("c", 0), ("d", 0)}),
        ("auc>=80 & kind=method", {("b", None), ("b", 0), ("b", 1)}),
        ("auc<70 & kind=method", {("a", 0)}),
        ("auc=90.0", {("b", 1)}),
        ("seed=1", {("b", 1)}),
        ("failure!=", {("d", 0)}),
    ],
)
def test_conditions(wide, where, expected):
    found = select(wide, where=f"level=volume & {where}")
    assert {(row.method, row.seed) for row in found.rows} == expected


def test_single_seeds_stay_below_their_mean_and_empty_values_come_last(wide):
    assert methods(select(wide, sort="auc")) == [
        ("a", 0), ("c", 0), ("b", None), ("b", 0), ("b", 1), ("d", 0),
    ]  # fmt: skip
    assert methods(select(wide, sort="-auc")) == [
        ("b", None), ("b", 0), ("b", 1), ("c", 0), ("a", 0), ("d", 0),
    ]  # fmt: skip
    assert [m for m, _ in methods(select(wide, sort="-method"))][:2] == ["d", "c"]


def test_sorting_by_two_names_takes_the_first_first(wide):
    assert methods(select(wide, sort="finetuner,-auc")) == methods(select(wide, sort="-auc"))


def test_references_stay_below(wide):
    kinds = [row.kind for row in select(wide, sort="-auc").rows if row.level == "volume"]
    assert kinds.index("shortcut") > max(i for i, kind in enumerate(kinds) if kind == "method")


def test_columns(wide):
    assert select(wide, columns="auc, p-holm-auc,seed").columns == ("auc", "p-holm-auc", "seed")
    assert select(wide).columns == wide.columns


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"where": "levle=volume"}, r"--where: unknown column 'levle'. Did you mean 'level'\?"),
        ({"where": "level=volumes"}, r"no row is left. Did you mean 'volume'\?"),
        ({"where": "volume"}, r"expected NAME=VALUE"),
        ({"where": "auc>high"}, r"'high' is not a number"),
        ({"sort": "-acu"}, r"--sort: unknown column 'acu'. Did you mean 'auc'\?"),
        ({"columns": "auc,npvv"}, r"--cols: unknown column 'npvv'. Did you mean 'npv'\?"),
    ],
)
def test_refusals_say_what_was_meant(wide, given, message):
    with pytest.raises(ConfigError, match=message):
        select(wide, **given)


def test_every_column_has_a_text_for_every_row(wide):
    for column in COLUMNS.values():
        for row in wide.rows:
            assert isinstance(column.text(row), str)
            assert isinstance(column.below(row), str)
            assert isinstance(column.key(row), str | int | float | None)


def test_the_screen_leaves_out_the_upper_levels_and_says_so(wide):
    from dataclasses import replace

    rows = (
        *wide.rows,
        replace(wide.rows[0], level="patient"),
        replace(wide.rows[0], subgroup="finding: cancer"),
    )
    many = replace(wide, rows=rows)
    assert screen(many).rows == wide.rows
    assert "Not shown here: patient level, subgroups" in screen(many).notes[-1]
    assert screen(wide) is wide
    assert len(overview(many).rows) == len(wide.rows) + 1
