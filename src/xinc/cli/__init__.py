"""The command line. Commands only translate: what they do is in :mod:`xinc.workflow` and the parts of the package.

Nothing heavy is imported before a command runs, so that ``xinc --help`` answers at once. Each module registers its
commands with :data:`app` when it is imported; the order of imports is the order in ``xinc --help``.
"""

# ruff: noqa: I001, E402 - in the order of help, and of what has to come first
import os

from xinc.cli.threads import let_threads_sleep

let_threads_sleep(os.environ)

from xinc.cli.app import app
from xinc.cli.commands import (  # noqa: F401 - they register themselves
    job,
    steps,
    explore,
    importing,
    verify,
    replicate,
    prune,
    attribute,
    sweep,
    inspect,
    datasets,
)

__all__ = ["app"]
