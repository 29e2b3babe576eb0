"""``python -m xinc.cli``."""

import sys

from xinc.cli import app

sys.exit(app())
