"""``python -m xinc``: the same as ``xinc``."""

from xinc.cli import app

if __name__ == "__main__":
    app()
