"""``python -m xinc``: the same as ``xinc``."""

from xinc.cli.app import main

if __name__ == "__main__":
    main()
