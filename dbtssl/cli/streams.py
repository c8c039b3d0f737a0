"""Output on any terminal: what its encoding lacks is written in readable ASCII, and nothing dies of a character.

`PYTHONIOENCODING=ascii`, Latin-1 and cp1252 lack Δ, ρ, † or •; strict UTF-8 lacks the bytes of a file name that is not
UTF-8. Files do not pass here: they are UTF-8, whatever the locale.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

READABLE = {
    "Δ": "d",
    "ρ": "rho",
    "†": "+",
    "¹": "a",  # not 1 and 2: beside a number they would be digits of it
    "²": "b",
    "±": "+-",
    "•": "-",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "×": "x",
    "≤": "<=",
    "≥": ">=",
    "µ": "u",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
HANDLER = "dbtssl.readable"


def readable(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: words for what is known, the letter without its accent, else the code point."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    if character in READABLE:
        return READABLE[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if 0x2500 <= code <= 0x257F:  # lines of boxes
        return "-"
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if plain and unicodedata.category(character).startswith("L"):
        return plain
    return character.encode("ascii", "backslashreplace").decode()


def make_tolerant() -> None:
    """From now on what standard output and error cannot encode is written as `readable` has it."""
    codecs.register_error(HANDLER, readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)
