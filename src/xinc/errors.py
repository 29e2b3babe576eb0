"""What goes wrong, said once: every error names the thing, what was seen, what was wanted and the remedy."""

from __future__ import annotations


class XincError(Exception):
    """Base of all errors that a user can cause and mend. The command line prints its one line and exits with 2."""


class SignalError(XincError):
    """A signal (image, video, folder, label map) is missing, unreadable, empty or of the wrong shape."""


class ModelError(XincError):
    """A model or its configuration cannot be built, or does not fit its signal."""


class CheckpointError(XincError):
    """A checkpoint is unreadable, of another family, or would need code to be executed."""


class RunError(XincError):
    """A run folder is missing a part, or was made with other settings."""


class PlaceError(RunError):
    """Something cannot be written where it is to go; what is there already is in order."""


class TraceError(XincError):
    """A network, layer, method or neuron cannot be traced as asked."""


class FindingError(XincError):
    """An analysis was asked for something that its data does not have."""


class StudyError(XincError):
    """A study file cannot be read, or says what a sweep cannot do; the message names the line."""


class XincWarning(UserWarning):
    """Something that a user should know, although the work went on. The command line prints it as a note."""
