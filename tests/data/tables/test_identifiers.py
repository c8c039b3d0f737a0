"""Ids that are one patient though they are not one text."""

from __future__ import annotations

import pytest

from dbtssl.data.deidentify import Privacy
from dbtssl.data.records import Cohort, Label, Volume
from dbtssl.data.splits.patient_split import split_patients
from dbtssl.data.tables.identifiers import (
    as_number,
    as_one,
    in_both,
    refuse_two_spellings,
    refuse_two_studies,
    unseen,
)
from dbtssl.errors import DataError
from dbtssl.interfaces import RawVolume


@pytest.mark.parametrize("text", ["12", "0012", "12.0", "012.", "12.000"])
def test_one_number(text):
    assert as_number(text) == as_one(text) == "12"


@pytest.mark.parametrize("text", ["", "12.5", "1.2.840.10008", "P12", "0x12", "1e2", "-", "1 2"])
def test_what_is_no_whole_number_stays(text):
    assert as_number(text) == text


@pytest.mark.parametrize(
    ("text", "number"), [("0", "0"), ("000", "0"), ("100", "100"), ("-07", "-7")]
)
def test_zeros(text, number):
    assert as_number(text) == number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P012", "p12"),
        ("DBT-P00013", "dbt-p13"),
        ("S\u00e9b", "Se\u0301b"),
        ("\uff11\uff12", "12"),
        ("a01b0", "A1B0"),
    ],
)
def test_one_id(one, other):
    assert as_one(one) == as_one(other)


@pytest.mark.parametrize(
    ("one", "other"), [("P1", "P10"), ("P1", "Q1"), ("1.5", "15"), ("a0", "a"), ("P1-2", "P12")]
)
def test_two_ids(one, other):
    assert as_one(one) != as_one(other)


def test_in_both_names_both_spellings():
    assert in_both(["0012", "7", "x"], ["12.0", "7", "y"]) == ["0012 (12.0)", "7"]
    assert in_both(["1"], ["2"]) == []


def test_what_cannot_be_seen_is_named_without_the_id():
    assert unseen("P1 a-B_.\u00e9") == ""
    assert unseen("P\u200b1") == "the invisible character U+200B (ZERO WIDTH SPACE) at place 2"
    assert unseen("P1\x00") == "the invisible character U+0000 (a control character) at place 3"
    assert unseen('"P1') == "a quotation mark at place 1"


def test_two_spellings_of_one_number():
    refuse_two_spellings(["12", "12", "013"], "patients", "t.csv")
    with pytest.raises(DataError, match=r"t\.csv: patients '0012' and '12' are one number"):
        refuse_two_spellings(["0012", "12"], "patients", "t.csv")


def test_a_study_is_one_within_its_patient():
    refuse_two_studies([("A", "01"), ("B", "1")], "t.csv")
    with pytest.raises(DataError, match=r"studies '01' and '1\.0' are one number"):
        refuse_two_studies([("A", "01"), ("B", "1"), ("A", "1.0")], "t.csv")


def volumes(*patients):
    return [Volume(p, "S", "lcc", 3, 4, 4, Label.NORMAL) for p in patients]


def test_a_data_set_with_one_patient_in_two_spellings_is_not_divided():
    with pytest.raises(DataError, match="patients '7' and '07' are one number"):
        split_patients(Cohort(volumes("7", "07", "8")))


@pytest.mark.parametrize("key", [None, bytes(32)])
def test_before_ids_are_hashed_they_are_compared(key, tmp_path):
    raws = [RawVolume(v, tmp_path / "a.dcm") for v in volumes("7", "07")]
    with pytest.raises(DataError, match="the source: patients '7' and '07' are one number"):
        Privacy(public=False, key=key).apply(raws)
