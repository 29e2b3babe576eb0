"""Whether the first lines of commits have at most 70 characters.

python scripts/check_subject.py FILE     a message that is about to be committed (the commit-msg hook)
python scripts/check_subject.py A..B     commits that are there (continuous integration)
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MOST = 70
BEFORE = "71e38f47"
"""The last commit from before the rule."""


def subjects(argument: str) -> list[str]:
    """The first lines to check."""
    if Path(argument).is_file():
        lines = [line for line in Path(argument).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        return lines[:1]
    log = subprocess.run(["git", "log", "--format=%s", argument], capture_output=True, text=True, check=False)
    return log.stdout.splitlines()  # a shallow clone lacks the range: nothing to check


def main() -> int:
    """Name each line that is too long; 1 if there is one."""
    argument = sys.argv[1] if len(sys.argv) > 1 else f"{BEFORE}..HEAD"
    long = [line for line in subjects(argument) if len(line) > MOST]
    for line in long:
        print(f"{len(line)} characters, {MOST} at most: {line}")
    return bool(long)


if __name__ == "__main__":
    sys.exit(main())
