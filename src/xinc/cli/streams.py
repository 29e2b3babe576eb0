"""Terminals and logs that cannot show every character: an older Windows, ``LANG=C``, ISO 8859-1."""

from __future__ import annotations

import codecs
import sys
import unicodedata

PLAIN = str.maketrans(
    {
        "×": "x", "·": "*", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "±": "+-",
        "‘": "'", "’": "'", "“": '"', "”": '"', "⟨": "<", "⟩": ">", "Σ": "sum",
        "✓": "yes", "✗": "no", "\u2009": " ", "\u202f": " ",
    }
)  # fmt: skip
NAME = "xinc.plain"


def plainly(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that the stream has not, and where to go on; a handler for :mod:`codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    plain = (unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() or "?" for c in text)
    return "".join(plain), error.end


def write_what_can_be() -> None:
    """From now on a character that standard output cannot show is written plainly, and is no error."""
    codecs.register_error(NAME, plainly)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=NAME)
