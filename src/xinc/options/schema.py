"""What an option may be, and how a value is checked: one line of refusal with what was given and what may be."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from xinc.errors import XincError

OptionKind = Literal["whole", "number", "word", "text", "table"]
SHOWN = 60
"""Characters of a wrong value that a message repeats."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: what users type.
        kind: a whole number, a number (finite), one of some words or any word, any text, or a table of its own.
        help: one line for people.
        low: the least that it may be.
        high: the greatest.
        open: whether ``low`` and ``high`` themselves are out.
        words: what it may be, where it is a word.
        counts: least and greatest number of values, where there may be several; None for a single one.
        optional: whether None, which leaves the choice open, is a value too.
    """

    name: str
    kind: OptionKind
    help: str
    low: float = -math.inf
    high: float = math.inf
    open: bool = False
    words: tuple[str, ...] = ()
    counts: tuple[int, int] | None = None
    optional: bool = False

    def check(self, given: Any, error: type[XincError], typed: bool = False) -> Any:
        """The value as the code takes it: ``int``, ``float``, ``str``, or a tuple of them.

        Args:
            given: a value, or text as it was typed.
            error: class of the refusal.
            typed: whether values have types already, so that a text is no number.

        Raises:
            XincError: it is of another type, out of range or not finite.
        """
        if given is None and self.optional:
            return None
        values = tuple(given) if isinstance(given, list | tuple) else (given,)
        if typed and self.kind in ("whole", "number") and any(isinstance(value, str) for value in values):
            raise self._refusal(given, error)
        if self.counts is None:
            return self._one(given, given, error)
        if not self.counts[0] <= len(values) <= self.counts[1]:
            raise self._refusal(given, error)
        return tuple(self._one(value, given, error) for value in values)

    def _one(self, value: Any, given: Any, error: type[XincError]) -> Any:
        converted = _converted(value, self.kind)
        if isinstance(converted, str):
            told = self.kind == "text" or bool(converted.strip())
            valid = converted in self.words if self.words else told and "\0" not in converted
        elif isinstance(converted, int | float):
            inside = self.low < converted < self.high if self.open else self.low <= converted <= self.high
            valid = inside and math.isfinite(converted)
        else:
            valid = converted is not None
        if not valid:
            raise self._refusal(given, error)
        return converted

    def _refusal(self, given: Any, error: type[XincError]) -> XincError:
        near = closest(str(given), self.words)
        hint = f"; did you mean {near}?" if near else ""
        return error(f"the option {self.name} cannot be {shortened(given)}; give {self.wanted}{hint}")

    @property
    def wanted(self) -> str:
        """What it may be, in words."""
        if self.words:
            return f"one of {', '.join(self.words)}"
        several = self.counts is not None
        if self.kind == "table":
            return "tables" if several else "a table"
        noun = {"whole": "whole number", "number": "number", "word": "word", "text": "text"}[self.kind]
        wanted = f"{noun}s{self._range}, separated by commas" if several else f"a {noun}{self._range}"
        if self.counts is not None and self.counts[0] == self.counts[1]:
            wanted = f"{self.counts[0]} {wanted}"
        return wanted

    @property
    def _range(self) -> str:
        low, high = (f"{bound:,.12g}" if abs(bound) < 1e12 else f"{bound:.3g}" for bound in (self.low, self.high))
        if self.open:
            ends = (f" above {low}" * math.isfinite(self.low), f" below {high}" * math.isfinite(self.high))
            return " and".join(end for end in ends if end)
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f" from {low} to {high}"
        return f" of at least {low}" if math.isfinite(self.low) else ""


def _converted(value: Any, kind: OptionKind) -> int | float | str | dict[str, Any] | None:
    """The value as the kind's type; None where it is none."""
    if isinstance(value, bool):
        return None
    if kind == "table":
        return value if isinstance(value, dict) else None
    if kind in ("word", "text"):
        return value if isinstance(value, str) else None
    try:
        value = float(value) if isinstance(value, str) and (kind == "number" or not _digits(value)) else value
        value = int(value) if isinstance(value, str) else value
        if kind == "number":
            return float(value)
        return int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _digits(text: str) -> bool:
    """Whether a text is a whole number without point or exponent."""
    return text.strip().lstrip("+-").isdecimal()


@dataclass(frozen=True)
class Schema:
    """The options of one thing.

    Attributes:
        what: that has them, such as ``nerv``, for messages.
        options: by name.
        error: class of refusals.
        elsewhere: names that are given in another way, and how.
        typed: whether values come with their types, from JSON, TOML or Python, and not as they were typed.
    """

    what: str
    options: Mapping[str, Option]
    error: type[XincError]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    typed: bool = False

    def __iter__(self) -> Iterator[str]:
        return iter(self.options)

    def __contains__(self, name: object) -> bool:
        return name in self.options

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The same options with each value as the code takes it.

        Raises:
            XincError: there is no such option, or it cannot have that value.
        """
        return {name: self.option(name).check(value, self.error, self.typed) for name, value in given.items()}

    def check_all(self, given: Any) -> dict[str, Any]:
        """The same of a document that must give every option.

        Raises:
            XincError: it is no table, or lacks one; else as :meth:`check`.
        """
        if not isinstance(given, dict):
            raise self.error(f"{self.what} is no table of values")
        if missing := [name for name in self if name not in given]:
            raise self.error(f"{self.what} has no {missing[0]}")
        return self.check(given)

    def option(self, name: str) -> Option:
        """The option of that name.

        Raises:
            XincError: there is none; the message has the nearest name.
        """
        if name in self.options:
            return self.options[name]
        if name in self.elsewhere:
            raise self.error(f"{self.what} has no option {name!r}: {self.elsewhere[name]}")
        near = closest(name, self.options)
        hint = f"did you mean {near}? " if near else ""
        raise self.error(f"{self.what} has no option {shortened(name)}; {hint}it has {', '.join(self.options)}")


def schema(what: str, options: Iterable[Option], error: type[XincError], **elsewhere: str) -> Schema:
    """A schema of options, in that order, of values as they are typed."""
    return Schema(what, {option.name: option for option in options}, error, elsewhere)


def document(what: str, options: Iterable[Option], error: type[XincError]) -> Schema:
    """A schema of values that have their types."""
    return Schema(what, {option.name: option for option in options}, error, typed=True)


def closest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, None if none is near."""
    plain = {known.lower().replace("_", "-"): known for known in names}
    near = difflib.get_close_matches(name[:SHOWN].lower().replace("_", "-"), plain, 1, 0.7)
    return plain[near[0]] if near else None


def shortened(value: Any) -> str:
    """A wrong value as a message repeats it."""
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python writes
        text = "a number of thousands of digits"
    except RecursionError:
        text = "something within itself"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def parsed(pairs: Iterable[str], error: type[XincError]) -> dict[str, Any]:
    """``["width=64", "strides=4,2"]`` as text by name, tuples of text where there are commas.

    Raises:
        XincError: one is not written as ``name=value``, or stands twice.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise error(f"--set {pair[:SHOWN]} is not an option; write it as name=value, such as width=64")
        if name in options:
            raise error(f"--set gives {name} twice; give it once")
        options[name] = tuple(part.strip() for part in text.split(",")) if "," in text else text
    return options
