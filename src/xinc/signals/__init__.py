"""What implicit neural representations represent: clips, images, segments, samples."""

from xinc.signals.clip import Clip
from xinc.signals.labels import Segment, Segments
from xinc.signals.reading import open

__all__ = ["Clip", "Segment", "Segments", "open"]
