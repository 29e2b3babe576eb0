"""Fetch the sample clips (Big Buck Bunny and two more) once, so that nothing has to be downloaded later."""

import sys

from xinc.errors import SignalError
from xinc.signals import samples

if __name__ == "__main__":
    try:
        for name in samples.CLIPS:
            print(samples.path(name))
    except SignalError as error:
        sys.exit(str(error))
