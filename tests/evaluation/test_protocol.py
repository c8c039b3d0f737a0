import pytest

from dbtssl.config import validate
from dbtssl.errors import ConfigError
from dbtssl.evaluation.protocol import (
    AS_PUBLISHED,
    NOT_AS_RELEASED,
    RELEASED_NORMALS,
    STRICT,
    Protocol,
    protocol,
)


def test_strict_is_found_by_name():
    assert protocol("strict") is STRICT
    assert STRICT.lesion_window == (4, 4)
    assert STRICT.specificity_rule == "at-least"


def test_actionable_as_normal_is_a_protocol_of_its_own():
    other = protocol("strict-actionable-normal")
    assert other == STRICT.model_copy(update={"name": other.name, "actionable": "normal"})
    assert other.digest != STRICT.digest


def test_as_published_is_the_released_code_and_a_diagnostic():
    assert protocol("as-published") is AS_PUBLISHED
    assert AS_PUBLISHED.diagnostic
    assert not STRICT.diagnostic
    assert AS_PUBLISHED.lesion_window == (4, 3)
    words = AS_PUBLISHED.words()
    for said in (
        "DIAGNOSTIC, NEVER RANKED",
        "from 4 slices before to 3 slices after",
        "for slices at a probability of one half",
        "among the probabilities 0, 0.01, ... 1, chosen on THE TEST SET ITSELF",
        "may lie below it",
    ):
        assert said in words


@pytest.mark.parametrize(
    ("rules", "known"),
    [
        (STRICT, "079e977019981ee1"),
        (protocol("strict-actionable-normal"), "31153286d9f06458"),
    ],
)
def test_a_rule_that_came_later_leaves_the_digests_of_the_others(rules, known):
    assert rules.digest.startswith(known)


def test_fine_tuning_as_released_is_said_with_what_is_not():
    """The list is of the protocol; what is done is not in it, and what is not done is."""
    assert STRICT.fine_tuning_notes() == ()
    done, *left = AS_PUBLISHED.fine_tuning_notes()
    assert AS_PUBLISHED.version == 3
    for said in (
        "24.2 % of the normal training and 24.1 % of the normal validation volumes",
        "over the lesion in abnormal slices",
        "a new head begins as PyTorch's",
    ):
        assert said in done
    assert len(left) == len(NOT_AS_RELEASED) == 12
    assert all(note.startswith("Not as released: ") for note in left)
    assert AS_PUBLISHED.with_window((1, 1)).fine_tuning_notes() == (done, *left)


def test_the_shares_of_normal_volumes_are_those_of_the_released_lists():
    """3,206 of 12,819 training and 460 of 1,838 validation volumes, with 139 and 22 abnormal ones."""
    assert RELEASED_NORMALS["train"] * (12_819 - 139) == 3_206 - 139
    assert RELEASED_NORMALS["val"] * (1_838 - 22) == 460 - 22


def test_unknown_protocol_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown protocol 'strikt'\. Did you mean 'strict'"):
        protocol("strikt")


def test_every_rule_changes_the_digest():
    changes = {
        "name": "other",
        "version": 3,
        "lesion_window": (4, 3),
        "actionable": "normal",
        "test_patches": "oracle",
        "slice_threshold": "one-half",
        "threshold": "test-balanced-grid",
        "specificity_rule": "nearest",
        "confidence": 0.9,
        "fine_tuning": "as-released",
    }
    digests = {STRICT.model_copy(update={key: value}).digest for key, value in changes.items()}
    assert len(digests | {STRICT.digest}) == len(changes) + 1


def test_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match=r"specificity_rule: got .exact."):
        validate(Protocol, {"name": "x", "version": 1, "specificity_rule": "exact"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "strict, version 2"),
        ({"lesion_window": (4, 3)}, "from 4 slices before to 3 slices after"),
        ({"actionable": "drop"}, "left out"),
        ({"actionable": "normal"}, "count as normal"),
        ({"specificity_rule": "at-least"}, "at least 87 %"),
        ({"specificity_rule": "interpolated"}, "linear between"),
        ({"specificity_rule": "nearest"}, "may lie below"),
        ({"confidence": 0.9}, "90 % intervals"),
    ],
)
def test_words_say_the_rule(change, said):
    assert said in STRICT.model_copy(update=change).words()


def test_another_window_is_another_protocol_in_name_and_digest():
    wider = STRICT.with_window((1, 2))
    assert (wider.name, wider.lesion_window) == ("strict-window-1-2", (1, 2))
    assert wider.digest != STRICT.digest
    assert "from 1 slices before to 2 slices after" in wider.words()
    assert wider.model_copy(update={"name": "strict", "lesion_window": (4, 4)}) == STRICT


def test_its_own_window_leaves_a_protocol_as_it_is():
    assert STRICT.with_window((4, 4)) is STRICT
