from __future__ import annotations

import numpy as np
import pytest

from dbtssl.data.records import Cohort, Label, Rect, Volume
from dbtssl.errors import DataError


def volume(patient="P1", study="S1", view="lcc"):
    return Volume(patient, study, view, 10, 100, 80, Label.NORMAL)


@pytest.mark.parametrize("view", ["cc", "xcc", "lcc-1", "LCC", "lml", ""])
def test_unknown_view_is_refused(view):
    with pytest.raises(DataError, match="unknown view"):
        volume(view=view)


def test_repeated_views_keep_side_and_projection():
    assert (volume(view="rmlo12").side, volume(view="rmlo12").projection) == ("r", "mlo")
    assert (volume(view="lcc2").side, volume(view="lcc2").projection) == ("l", "cc")


def test_a_volume_cannot_be_listed_twice():
    with pytest.raises(DataError, match="P1_S1_lcc"):
        Cohort([volume(), volume()])


def test_relations_within_a_cohort():
    keys = ["P1 S1 lcc", "P1 S1 lmlo", "P1 S1 rmlo", "P1 S2 lmlo", "P2 S1 lmlo"]
    cohort = Cohort(volume(*key.split()) for key in keys)
    assert cohort.other_projection(0) == (1,)
    assert cohort.same_study(0) == (0, 1, 2)
    assert cohort.same_patient(3) == (0, 1, 2, 3)
    assert len(set(cohort.breast_ids)) == 4  # the same side of another study counts apart
    assert len(set(cohort.study_ids)) == 3
    assert len(set(cohort.patient_ids)) == 2


def test_rectangle_around_a_mask():
    mask = np.zeros((9, 7), dtype=bool)
    assert Rect.around(mask) == (0, 0, 0, 0)
    mask[2, 3] = mask[5, 1] = True
    assert Rect.around(mask) == (2, 1, 6, 4)
    assert mask[2:6, 1:4].sum() == 2
