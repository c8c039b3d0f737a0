"""Ids of patients, studies and volumes as strangers' files write them: what cannot be seen in one, and which are one.

A table that went through a spreadsheet or through pandas has ``12`` or ``12.0`` for ``0012``. As text these are three
patients, and one of them may be trained on and scored at once.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

# blank where they are shown, though Unicode does not count them as separators or controls
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_WHOLE = re.compile(r"(-?)0*(\d+?)(?:\.0*)?", re.ASCII)
_BEFORE_DIGITS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def unseen(text: str) -> str:
    """What an id must not hold, in words: a character that cannot be seen, a quotation mark; empty where all is well.

    The words do not repeat ``text``.
    """
    if text.isascii() and text.isprintable() and '"' not in text:
        return ""
    for place, character in enumerate(text, 1):
        if (
            not character.isprintable()
            or character in _FILLERS
            or "\ufe00" <= character <= "\ufe0f"
        ):
            name = unicodedata.name(character, "a control character")
            return f"the invisible character U+{ord(character):04X} ({name}) at place {place}"
        if character == '"':
            return f"a quotation mark at place {place}"
    return ""


def as_number(text: str) -> str:
    """One spelling for ``0012``, ``12`` and ``12.0``; other ids as they are."""
    found = _WHOLE.fullmatch(text)
    return f"{found[1]}{found[2]}" if found else text


def as_one(text: str) -> str:
    """One spelling for ids that differ in capitals, in zeros before a number, or in how Unicode composes a letter."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _BEFORE_DIGITS.sub("", as_number(plain))


def refuse_two_spellings(ids: Iterable[str], what: str, where: str) -> None:
    """`DataError` where two of ``ids`` are the same number written in two ways; ``what`` is a plural as "patients"."""
    spelt: dict[str, str] = {}
    for text in ids:
        other = spelt.setdefault(as_number(text), text)
        if other != text:
            raise DataError(
                f"{where}: {what} {other!r} and {text!r} are one number written in two ways",
                hint="write an id in the same way in every row, as text in a spreadsheet",
            )


def refuse_two_studies(studies: Iterable[tuple[str, str]], where: str) -> None:
    """The same for patients, and for the studies of each, of pairs of patient and study."""
    of: dict[str, dict[str, None]] = {}
    for patient, study in studies:
        of.setdefault(patient, {})[study] = None
    refuse_two_spellings(of, "patients", where)
    for own in of.values():
        refuse_two_spellings(own, "studies", where)


def in_both(first: Iterable[str], second: Iterable[str]) -> list[str]:
    """Ids of ``first`` that are in ``second`` too, as text or as `as_one`, sorted; another spelling in brackets."""
    known: dict[str, set[str]] = {}
    for text in second:
        known.setdefault(as_one(text), set()).add(text)
    out = []
    for text in sorted(set(first)):
        others = known.get(as_one(text), set())
        if text in others:
            out.append(text)
        elif others:
            out.append(f"{text} ({min(others)})")
    return out
