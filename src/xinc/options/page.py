"""The tables of options for people: the page ``docs/options.md`` and what ``--help`` lists under the options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xinc.options.schema import Option, Schema
from xinc.options.tables import DEFAULTS, IMPORTS, NETWORKS, RECIPE, SET_FINDINGS

HEAD = """# Options that `--set` takes

Made of the tables in the code by `python -m xinc.options.page`; the help of `xinc fit` lists the same. Write
`--set NAME=VALUE`, once for each; several values of one option are separated by commas: `--set strides=4,2,2`. In
Python they are keywords: `xinc.fit("nerv", clip, strides=(4, 2, 2))`. A name or value that cannot be is refused before
any work, with the nearest name.
"""


def written(value: Any) -> str:
    """A default as one would type it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _table(schema: Schema, defaults: Mapping[str, Any] | None = None) -> Iterable[str]:
    default = ("default | ", "--- | ") if defaults is not None else ("", "")
    yield f"| option | may be | {default[0]}what it is |"
    yield f"| --- | --- | {default[1]}--- |"
    for option in schema.options.values():
        given = f"{written(defaults.get(option.name))} | " if defaults is not None else ""
        yield f"| `{option.name}` | {option.wanted} | {given}{option.help} |"


def page() -> str:
    """The page as Markdown."""
    lines = [HEAD]
    for name, schema in NETWORKS.items():
        lines += [f"## A network: `{name}` (`fit`, `explain`)\n", *_table(schema, DEFAULTS[name]), ""]
    lines += ["## Its fit (`fit`, `explain`)\n", "Defaults are the family's.\n", *_table(RECIPE), ""]
    lines += ["## The findings (`explain`, `analyse`)\n", *_table(SET_FINDINGS), ""]
    lines += ["## Somebody else's weights (`import`)\n", "What is not given is chosen by the fit to the signal.\n"]
    for name, schema in IMPORTS.items():
        lines += [f"### `{name}`\n", *_table(schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def _listed(options: Iterable[tuple[Option, str]]) -> str:
    """A paragraph for each option: its name, what it is, what it may be, whose it is."""
    return "\n\n".join(f"[cyan]{o.name}[/]{whose}  {o.help}: {o.wanted}" for o, whose in options)


def _of_families(schemas: Mapping[str, Schema]) -> str:
    """The options of all families, each with the families that have it where not all do."""
    families: dict[Option, list[str]] = {}
    for name, schema in schemas.items():
        for option in schema.options.values():
            families.setdefault(option, []).append(name)
    return _listed((o, "" if len(has) == len(schemas) else f" ({', '.join(has)})") for o, has in families.items())


def _of(schema: Schema) -> str:
    return _listed((option, "") for option in schema.options.values())


def fit_help() -> str:
    """What ``xinc fit --set`` takes."""
    return f"[bold]Options for --set:[/]\n\n{_of_families(NETWORKS)}\n\n{_of(RECIPE)}"


def explain_help() -> str:
    """What ``xinc explain --set`` takes."""
    return f"{fit_help()}\n\n{_of(SET_FINDINGS)}"


def analyse_help() -> str:
    """What ``xinc analyse --set`` takes."""
    return f"[bold]Options for --set:[/]\n\n{_of(SET_FINDINGS)}"


def import_help() -> str:
    """What ``xinc import --set`` takes."""
    return f"[bold]Options for --set:[/]\n\n{_of_families(IMPORTS)}"


if __name__ == "__main__":
    print(page(), end="")
