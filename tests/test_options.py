"""The schema of options: one line for each bad value before any work; tables that agree with the code and the docs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xinc as package
from click_free import one_line, xinc
from xinc import models
from xinc.errors import FindingError, ModelError
from xinc.findings.analyses import Settings
from xinc.findings.section4 import choose
from xinc.models.families import FAMILIES
from xinc.models.networks.nerv import ENCODINGS
from xinc.models.parts import ACTIVATIONS, LAYOUTS, OUTPUTS
from xinc.models.recipe import SCHEDULES, Recipe
from xinc.options import tables
from xinc.options.page import page
from xinc.options.schema import Option, document
from xinc.signals.labels import Segment
from xinc.signals.segments import ENCODINGS as LABEL_ENCODINGS
from xinc.workflow.job import Source

DOCS = Path(__file__).resolve().parents[1] / "docs"
WORDS = ("", "many", "nan", "inf", "-inf", "1e400", "None", "[/b]", "\udcff", "9" * 5000, "1,,2", "1;2")
WHOLE = ("0", "-1", "1.5", "100000000000000000000")
RESERVED = ("seed=3", "device=cpu", "out=x", "recipe=paper", "clip=c", "progress=1", "name=n", "frame=0", "size=8,8")
FIT = ("fit", "{picture}", "--model", "{model}", "--out", "{out}")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("options") / "picture.png"
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(path)
    return path


def bad_sets() -> Iterator[tuple[str, str]]:
    """Values of ``--set`` that no network, fit or analysis can have: family, ``name=value``."""
    for family, name in (("siren", "width"), ("siren", "layers"), ("nerv", "fc_dim"), ("ffn", "frequencies")):
        yield from ((family, f"{name}={value}") for value in (*WORDS, *WHOLE))
    for family, name in (("siren", "w0"), ("ffn", "scale"), ("nerv", "reduction"), ("nerv", "base")):
        yield from ((family, f"{name}={value}") for value in (*WORDS, "-1", "1e30"))
    for value in (*WORDS, *WHOLE[:3], "4,2.5", "65", ",", "2,2,2,2,2,2,2,2,2,2,2,2,2"):
        yield "nerv", f"strides={value}"
    for name in ("params", "bpp", "learning_rate", "epochs", "batch", "betas", "parts"):
        yield from (("ffn", f"{name}={value}") for value in ("nan", "inf", "-1", "0.5,x", "1e300", "word"))
    for name in ("activation", "output", "encoding", "schedule"):
        yield from (("nerv", f"{name}={value}") for value in ("", "gelus", "3", "nan", "relu,relu"))
    yield from (("ffn", pair) for pair in RESERVED)
    yield from (
        ("ffn", pair) for pair in ("widht=3", "=3", "width", "width=", "Width=3", "layers=1", "wïdth=3", "$x=1")
    )


def bad_calls() -> Iterator[tuple[str, ...]]:
    """Other commands and options."""
    for pair in ("clusters=0", "clusters=1e9", "rule=best", "areas=nan", "areas=0,2", "points=1", "seed=3", "width=3"):
        yield "analyse", "/nowhere", "--set", pair
    for option in ("--epochs", "--seed", "--every", "--start", "--count", "--batch", "--learning-rate", "--frame"):
        for value in ("-7777777777", "1" + "0" * 30, "nan"):
            if (option, value) != ("--start", "nan"):
                yield (*FIT, option, value)
    for value in ("", "0x0", "8", "8x", "8x8x8", "-8x8", "²x8", "9" * 5000 + "x8", "nanxnan"):
        yield "explain", "{picture}", "--out", "{out}", "--size", value
    for value in ("", "cuda:99", "gpu", "meta", "nan"):
        yield (*FIT, "--device", value)
    for value in ("", "nerf", "FFN", "ffn ", "../x"):
        yield "explain", "{picture}", "--out", "{out}", "--model", value
    for value in ("0:1000000000000", "-1", "x", "", "1:2:3:4", "0:9:0", "1e3", "99999999999999999999", "5:1"):
        yield "trace", "/nowhere", "--frames", value
    for value in ("-1", "nan", "inf", "2", "word"):
        yield "prune", "/nowhere", "--layer", "head", "--fraction", value
    for value in ("-1", "1" + "0" * 30):
        yield "prune", "/nowhere", "--layer", "head", "--finetune", value
        yield "verify", "/nowhere", "--seed", value
        yield "verify", "/nowhere", "--neurons", value
        yield "replicate", "/nowhere", "--seed", value
        yield "inspect", "/nowhere", "--frame", value
    for pair in ("activation=gelus", "w0=nan", "widths=3,3,3", "size=8,8"):
        yield "import", "/nowhere.pth", "--as", "nerv", "--signal", "{picture}", "--out", "{out}", "--set", pair


BAD = [(*FIT[:3], family, *FIT[4:], "--set", pair) for family, pair in bad_sets()] + list(bad_calls())


def test_there_are_many() -> None:
    assert len(set(BAD)) >= 250


@pytest.mark.parametrize("call", BAD, ids=[" ".join(call[-2:])[:40] for call in BAD])
def test_a_bad_value_gets_one_line_before_any_work(call: tuple[str, ...], picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    places = {"picture": str(picture), "out": str(out), "model": "ffn"}
    ran = xinc(*(places.get(word.strip("{}"), word) if word.startswith("{") else word for word in call))
    assert ran.code == 2, ran
    assert "Traceback" not in ran.err
    assert isinstance(ran.error, SystemExit | None)
    if "Usage: xinc" not in ran.err:  # what is no number at all is told by Typer, with the usage
        assert len(one_line(ran)) < 700
    assert not out.exists(), "something was made"


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("width=1.5", "the option width cannot be '1.5'; give a whole number from 1 to 16,384"),
        ("widht=3", "ffn has no option 'widht'; did you mean width? it has width, frequencies, layers, scale, params"),
        ("scale=nan", "the option scale cannot be 'nan'; give a number from 0 to 1,000,000"),
        ("schedule=cosin", "give one of constant, cosine, cosine_0.1; did you mean cosine?"),
        ("seed=3", "ffn has no option 'seed': give --seed"),
        ("betas=0.9", "the option betas cannot be '0.9'; give 2 numbers from 0 to 0.999999, separated by commas"),
    ],
)
def test_what_is_said(pair: str, told: str, picture: Path, tmp_path: Path) -> None:
    assert told in one_line(xinc("fit", str(picture), "--model", "ffn", "--out", str(tmp_path / "o"), "--set", pair))


def test_plausible_values_work(picture: Path, tmp_path: Path) -> None:
    """What ended in a traceback: the recipe by ``--set``, whole numbers written with a point, one stride."""
    sets = ("epochs=2", "learning_rate=1e-3", "batch=64", "width=8.0", "schedule=constant")
    ran = xinc(
        "fit", str(picture), "--model", "ffn", "--out", str(tmp_path / "run"), *(w for p in sets for w in ("--set", p))
    )
    assert ran.code == 0, ran
    settings = package.load(tmp_path / "run").settings
    assert [settings[f"recipe.{name}"] for name in ("epochs", "learning_rate", "batch", "schedule")] == [
        2, 1e-3, 64, "constant",
    ]  # fmt: skip
    assert models.build("nerv", (16, 16), 2, strides=4, fc_dim=np.int64(8)).config.strides == (4,)
    assert "epochs is given twice" in one_line(
        xinc("fit", str(picture), "--model", "ffn", "--out", str(tmp_path / "r"), "--epochs", "3", "--set", "epochs=2")
    )


def test_python_and_commands_say_the_same(picture: Path, tmp_path: Path) -> None:
    clip = package.open(picture)
    told = one_line(xinc("fit", str(picture), "--model", "siren", "--out", str(tmp_path / "o"), "--set", "w0=-2"))
    for call in (
        lambda: package.fit("siren", clip, w0=-2.0),
        lambda: models.build("siren", (8, 8), w0=-2),
        lambda: models.configure("siren", (8, 8), w0="-2"),
    ):
        with pytest.raises(ModelError) as refused:
            call()
        assert str(refused.value).split(";")[1] in told
    for call in (
        lambda: package.fit("siren", clip, seed=-1),
        lambda: package.fit("siren", clip, seed=2**64),
        lambda: package.fit("siren", clip, device="cuda:99"),
        lambda: Recipe(1, float("nan")),
        lambda: models.configure("siren", (8, 8), params=float("nan")),
        lambda: models.configure("siren", (8, 8), params=1e12),
    ):
        with pytest.raises(ModelError):
            call()
    with pytest.raises(FindingError, match="whole number from 0 to 4,294,967,295"):
        Settings(seed=2**32)


def test_every_seed_fits(picture: Path) -> None:
    clip = package.open(picture)
    fitted = [package.fit("ffn", clip, epochs=1, width=4, seed=seed) for seed in (0, tables.SEEDS)]
    assert len({float(run.psnr()[0]) for run in fitted}) == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_the_tables_are_those_of_the_code(name: str) -> None:
    assert FAMILIES[name].options() == dict(tables.DEFAULTS[name])
    assert {*tables.NETWORKS[name]} == {*tables.DEFAULTS[name], "params", "bpp"}
    fields = {field.name for field in dataclasses.fields(FAMILIES[name].config)}
    assert set(tables.CONFIGS[name]) == fields
    assert set(tables.IMPORTS[name]) <= fields
    for recipe in (FAMILIES[name].recipe, FAMILIES[name].plain):
        assert recipe == Recipe(**tables.RECIPE.check(dataclasses.asdict(recipe)))


def test_names_are_those_of_the_code() -> None:
    assert tuple(ACTIVATIONS) == tables.ACTIVATION_NAMES
    assert tuple(OUTPUTS) == tables.OUTPUT_NAMES
    assert tuple(LAYOUTS) == tables.LAYOUT_NAMES
    assert tuple(ENCODINGS) == tables.ENCODING_NAMES
    assert tuple(SCHEDULES) == tables.SCHEDULE_NAMES
    assert tuple(choose.RULES) == tables.RULE_NAMES
    assert set(tables.RECIPE) == {field.name for field in dataclasses.fields(Recipe)}
    assert set(tables.FINDINGS) == {field.name for field in dataclasses.fields(Settings)}
    assert set(tables.SOURCE) <= {field.name for field in dataclasses.fields(Source)}
    assert {"auto", *LABEL_ENCODINGS} == {*tables.LABEL_ENCODINGS}
    assert set(tables.RUN) >= {"family", "config", "settings"}
    assert set(tables.SEGMENT) == {field.name for field in dataclasses.fields(Segment)}


def test_the_page_of_options_is_made_of_the_tables() -> None:
    """To make it anew: ``python -m xinc.options.page > docs/options.md``."""
    assert (DOCS / "options.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("command", ["fit", "explain", "analyse", "import"])
def test_help_lists_every_option_that_can_be_set(command: str) -> None:
    told = xinc(command, "--help", columns=200).out
    schemas = {
        "fit": (*tables.NETWORKS.values(), tables.RECIPE),
        "explain": (*tables.NETWORKS.values(), tables.RECIPE, tables.SET_FINDINGS),
        "analyse": (tables.SET_FINDINGS,),
        "import": tuple(tables.IMPORTS.values()),
    }[command]
    missing = [name for schema in schemas for name in schema if f" {name}" not in told]
    assert not missing


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        (Option("x", "whole", "", 1, 9), "7", 7),
        (Option("x", "whole", "", 1, 9), 7.0, 7),
        (Option("x", "number", "", 0, 9), "2", 2.0),
        (Option("x", "number", "", 0, 9, counts=(1, 3)), 2, (2.0,)),
        (Option("x", "whole", "", 0, 9, counts=(1, 3)), ["1", 2], (1, 2)),
        (Option("x", "whole", "", optional=True), None, None),
    ],
)
def test_values_become_what_the_code_takes(option: Option, given: object, value: object) -> None:
    checked = option.check(given, ModelError)
    assert (checked, type(checked)) == (value, type(value))


def test_values_with_types_are_taken_as_they_are() -> None:
    typed = document("it", [Option("x", "whole", "", 1, 9), Option("y", "table", "")], ModelError)
    assert typed.check({"x": 7, "y": {"a": 1}}) == {"x": 7, "y": {"a": 1}}
    for wrong, told in (({"x": "7"}, "cannot be '7'"), ({"y": [1]}, "give a table"), ({"z": 1}, "no option 'z'")):
        with pytest.raises(ModelError, match=told):
            typed.check(wrong)
    for wrong, told in (([], "is no table of values"), ({"x": 1}, "has no y")):
        with pytest.raises(ModelError, match=told):
            typed.check_all(wrong)


@pytest.mark.parametrize("given", [True, None, float("nan"), 10**400, 1j, "1 0", b"1", [1], {}, object()])
def test_what_is_no_number_is_refused(given: object) -> None:
    with pytest.raises(ModelError, match="the option x cannot be"):
        Option("x", "whole", "", 1, 9).check(given, ModelError)
