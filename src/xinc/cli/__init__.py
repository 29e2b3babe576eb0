"""The command line. Commands only translate: what they do is in :mod:`xinc.workflow` and the parts of the package.

Nothing heavy is imported before a command runs, so that ``xinc --help`` answers at once. Each module registers its
commands with :data:`app` when it is imported; the order of imports is the order in ``xinc --help``.
"""

from xinc.cli import datasets, importing, inspect, job, prune, replicate, steps, verify
from xinc.cli.app import app

__all__ = ["app", "datasets", "importing", "inspect", "job", "prune", "replicate", "steps", "verify"]
