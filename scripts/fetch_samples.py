"""Fetch the sample clips (Big Buck Bunny and two more) once, so that nothing has to be downloaded later."""

import sys

from xinc.errors import SignalError
from xinc.signals import samples

if __name__ == "__main__":
    try:
        for file in (
            samples.fetch()
            if not all(samples.folder().joinpath(c.file).is_file() for c in samples.CLIPS.values())
            else ()
        ):
            print(file)
    except SignalError as error:
        sys.exit(str(error))
