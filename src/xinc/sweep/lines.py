"""Where keys stand in a TOML text, for errors that name a line."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[{1,2}\s*([A-Za-z0-9_.\"'-]+?)\s*\]{1,2}\s*(#.*)?$")
_KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*(?:\.[^=]*)?=")


class Lines:
    """Line numbers of tables and of the keys in them, counted from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        table, index = "", 0
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                first, _, rest = header[1].partition(".")
                if rest:  # [study.settings]: a key of the table it belongs to, and so are those that follow
                    table, index = first, max(0, counts.get(first, 0) - 1)
                    self._lines.setdefault((table, index, rest.split(".")[0]), number)
                    continue
                table, index = first, counts.get(first, 0)
                counts[table] = index + 1
                self._lines.setdefault((table, index, ""), number)
                self._lines.setdefault(("", 0, table), number)
            elif key := _KEY.match(line):
                self._lines.setdefault((table, index, key[1]), number)

    def of(self, table: str, index: int, *keys: str) -> int:
        """The line of a key in the ``index``-th table of a name: the first that is seen, else the table's own."""
        return next((line for key in (*keys, "") if (line := self._lines.get((table, index, key)))), 1)
