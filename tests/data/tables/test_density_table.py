"""A table of breast densities: what it says, and every refusal."""

from __future__ import annotations

import math

import pytest

from dbtssl.data.deidentify import Privacy, pseudonym
from dbtssl.data.records import Label, Volume
from dbtssl.data.tables.density_table import density_of, read_density
from dbtssl.errors import DataError

HEAD = "PatientID,StudyUID,Breast,density\n"
KEY = b"k" * 32


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "density.csv"
        path.write_text(text)
        return path

    return write


def volume(view, patient="P1", study="S1"):
    return Volume(patient, study, view, 9, 8, 8, Label.NORMAL)


def test_a_breasts_density_is_that_of_its_volumes(table):
    known = read_density(table(HEAD + "P1,S1,L,0.25\nP1,S1,r,3\nP1,S2,l,0\n"))
    assert known == {("P1", "S1", "l"): 0.25, ("P1", "S1", "r"): 3.0, ("P1", "S2", "l"): 0.0}
    assert [density_of(known, volume(v)) for v in ("lcc", "lmlo", "rmlo1")] == [0.25, 0.25, 3]
    assert math.isnan(density_of(known, volume("rcc", study="S2")))
    assert math.isnan(density_of(known, volume("lcc", patient="P2")))


def test_a_views_density_is_its_own(table):
    known = read_density(table("density,View,StudyUID,PatientID\n0.2,LCC,S1,P1\n0.3,lmlo,S1,P1\n"))
    assert [density_of(known, volume(v)) for v in ("lcc", "lmlo")] == [0.2, 0.3]
    assert math.isnan(density_of(known, volume("rcc")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PatientID,StudyUID,Breast\nP1,S1,l\n", "missing columns density"),
        ("StudyUID,density,Breast\nS1,1,l\n", "missing columns PatientID"),
        ("PatientID,StudyUID,density\nP1,S1,1\n", "neither Breast nor View, expected one"),
        (
            "PatientID,StudyUID,Breast,View,density\nP1,S1,l,lcc,1\n",
            "Breast and View, expected one",
        ),
        (HEAD + "P1,S1,left,1\n", "line 2: Breast is 'left', expected l or r"),
        (HEAD + "P1,S1,,1\n", "line 2: Breast is '', expected l or r"),
        (
            "PatientID,StudyUID,View,density\nP1,S1,l,1\n",
            "line 2: View is 'l', expected lcc, lmlo, rcc or rmlo",
        ),
        (HEAD + ",S1,l,1\n", "line 2: PatientID or StudyUID is empty"),
        (HEAD + "P1, ,l,1\n", "line 2: PatientID or StudyUID is empty"),
        (HEAD + "P1,S1,l,b\n", "line 2: density is 'b', expected a number of 0 or more"),
        (HEAD + "P1,S1,l,\n", "line 2: density is '', expected"),
        (HEAD + "P1,S1,l,-1\n", "line 2: density is '-1', expected"),
        (HEAD + "P1,S1,l,inf\n", "line 2: density is 'inf', expected"),
        (HEAD + "P1,S1,l,nan\n", "line 2: density is 'nan', expected"),
        (HEAD + "P1,S1,l,1\nP1,S1,L,1\n", "line 3: the breast of an earlier row once more"),
        (
            "PatientID,StudyUID,View,density\nP1,S1,lcc,1\nP1,S1,lcc,2\n",
            "line 3: the view of an earlier row once more",
        ),
        (HEAD, "is a table without rows"),
        ("", "missing columns PatientID, StudyUID, density; found none"),
    ],
)
def test_what_is_refused(table, text, message):
    with pytest.raises(DataError) as caught:
        read_density(table(text))
    assert message in caught.value.message
    assert caught.value.hint
    assert "P1" not in caught.value.message


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*none\.csv"):
        read_density(tmp_path / "none.csv")


def test_ids_are_hashed_as_those_of_volumes():
    private, public = Privacy(False, KEY), Privacy(True)
    assert private.ids("Jane", "7") == (
        pseudonym(KEY, "patient", "Jane"),
        pseudonym(KEY, "study", "Jane\x007"),
    )
    assert public.ids("Jane", "7") == ("Jane", "7")
