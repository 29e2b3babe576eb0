"""The report: one file that needs nothing else, whose numbers are those of the results."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tiny_runs import SIZE, clip, page_of_runs, runs
from xinc.errors import RunError
from xinc.findings.results import FOLDER, Results
from xinc.run import Run, load
from xinc.show import style
from xinc.show.page.html import EmbeddedPicture, PageTable, written
from xinc.show.report import duration, report
from xinc.show.subjects import signal_name, subjects


@dataclass
class Seen(HTMLParser):
    """What a page holds."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def made() -> list[Run]:
    return runs()


@pytest.fixture(scope="module")
def file() -> Path:
    return page_of_runs()


@pytest.fixture(scope="module")
def page(file: Path) -> Seen:
    seen = Seen()
    seen.feed(file.read_text("utf-8"))
    return seen


def test_nothing_is_fetched(page: Seen, file: Path) -> None:
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
            address = attrs.get(name)
            assert address is None or address.startswith(("data:", "#")), f"<{tag} {name}={address[:60]}>"
    text = file.read_text("utf-8")
    assert "@import" not in text
    assert "url(" not in text.replace("url(#", "")
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_every_picture_has_words(page: Seen) -> None:
    assert all(attrs.get("alt", "").strip() for attrs in page.all("img"))
    drawn = [attrs for attrs in page.all("svg") if attrs.get("aria-hidden") != "true"]  # one holds what others refer to
    assert len(drawn) >= len(page.all("svg")) - 1
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in drawn)
    assert all(attrs.get("aria-label") for attrs in page.all("input") if attrs.get("type") == "range")


def test_ids_are_unique_and_links_lead_somewhere(page: Seen) -> None:
    ids = Counter(attrs["id"] for _, attrs in page.tags if "id" in attrs)
    assert {name: n for name, n in ids.items() if n > 1} == {}
    targets = [a["href"][1:] for a in page.all("a") if a.get("href", "").startswith("#")]
    targets += [a["xlink:href"][1:] for _, a in page.tags if a.get("xlink:href", "").startswith("#")]
    targets += [a["value"] for a in page.all("input") if a.get("name") == "view"]
    targets += [f"{a['value']}-variant" for a in page.all("input") if a.get("type") == "radio" and a["name"] != "view"]
    targets += [name for _, a in page.tags for name in a.get("aria-labelledby", "").split()]
    assert targets
    assert set(targets) <= set(ids)


def test_every_finding_is_shown(page: Seen) -> None:
    sections = [attrs["id"] for attrs in page.all("section")]
    expected = ["gallery", "grouping", "intensity", "pixels_per_neuron", "neurons_per_pixel", "objects", "motion"]
    assert [name for name in sections if name in expected] == expected
    assert {"fit", "settings"} <= set(sections)
    assert len(page.all("h1")) == 1


def test_numbers_are_those_of_the_results(made: list[Run], page: Seen) -> None:
    links = {a["download"]: a["href"] for a in page.all("a") if "download" in a}
    table = pd.read_csv(io.BytesIO(base64.b64decode(links["intensity.csv"].split(",", 1)[1])))
    nerv, ffn = subjects(made)
    for subject in (nerv, ffn):
        rows = table[table["network"] == subject.title]
        assert [name.replace(" ", "") for name in rows["layer"]] == subject.layers
        for layer, value in zip(subject.layers, rows["r with intensity"], strict=True):
            data = subject.dataset("intensity", layer)
            assert data is not None
            assert value == pytest.approx(float(data["correlation_intensity"].sel(frame=0)), nan_ok=True)


def test_first_sentence_has_the_psnr_of_the_run(made: list[Run], page: Seen) -> None:
    text = " ".join(" ".join(page.text).split())
    assert f"draws 3 frames of toys at 32×64 with a PSNR of {float(made[0].psnr().mean()):.1f} dB" in text
    assert f"draws the first frame with a PSNR of {float(made[1].psnr().mean()):.1f} dB" in text
    assert "How a NeRV and an FFN see toys" in text


def test_the_viewer_offers_every_layer(page: Seen) -> None:
    tags = [a["data-tag"] for a in page.all("input") if a.get("name") == "view"]
    layers = ["head", "block 2", "block 1"]
    assert tags == [
        "reconstruction",
        *(f"NeRV, {name}" for name in layers),
        "error",
        "reconstruction",
        *(f"FFN, layer {i}" for i in (3, 2, 1)),
        "error",
    ]
    assert sum("checked" in a for a in page.all("input") if a.get("name") == "view") == 1


def test_layers_are_outermost_first(made: list[Run]) -> None:
    assert [s.layers for s in subjects(made)] == [
        ["head", "block2", "block1"],
        ["layer3", "layer2", "layer1"],
    ]


def test_figures_are_kept_beside_the_report(file: Path) -> None:
    names = sorted(path.name for path in (file.parent / "figures").iterdir())
    assert {
        "training.png",
        "training.svg",
        "training.pdf",
        "grouping-0.png",
        "intensity-0.svg",
        "grouping-0-paper.pdf",
    } <= set(names)
    for path in (file.parent / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 300


def test_no_part_is_left_over(file: Path) -> None:
    assert [p.name for p in file.parent.iterdir() if p.is_file()] == ["report.html"]


def test_runs_of_one_kind_are_told_apart(made: list[Run]) -> None:
    titles = [s.title for s in subjects([made[1], made[1]])]
    assert len(set(titles)) == 2
    assert all(title.startswith("FFN") for title in titles)


def test_a_report_of_one_run_lies_in_its_folder(made: list[Run]) -> None:
    run = load(made[1].path or "")
    assert report(run) == (made[1].path or Path()) / "report.html"


def test_a_run_without_results_says_what_to_do(made: list[Run]) -> None:
    with pytest.raises(RunError, match=r"has no results of method 'ablation'; run `xinc analyse .* --method ablation`"):
        report(made[0], method="ablation")


def test_several_runs_need_a_place(made: list[Run]) -> None:
    with pytest.raises(RunError, match="say where the report goes"):
        report(made)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("bunny", "Big Buck Bunny"),
        ("/a/b/holiday.mp4", "holiday"),
        ("/data/vipseg_1001/frames", "vipseg_1001"),
        ("street", "street"),
        ("/data/VIPSeg:1001_xyz", "1001_xyz of VIPSeg"),
        ("/data/judo:judo", "judo"),
        ("aachen_000000_000019_leftImg8bit.png", "aachen_000000_000019"),
        ("", "a signal"),
    ],
)
def test_signals_are_called_by_name(source: str, name: str) -> None:
    assert signal_name(source) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (978557, "978\u2009557"),
        (0.123456, "0.123"),
        (-3.14159, "−3.14"),
        (27.31, "27.3"),
        (1234.5, "1\u2009234"),
        (0.0000123, "1.2e−05"),
        (0.0, "0.000"),
        (float("nan"), "–"),
        (None, "–"),
        (np.int64(5), "5"),
        (True, "yes"),
        ("word", "word"),
    ],
)
def test_numbers_are_written_for_people(value: object, text: str) -> None:
    assert written(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(4.25, "4.2 s"), (129.6, "2 min 10 s"), (3700, "1 h 1 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_picture_is_the_image() -> None:
    frame = clip().frames[0].permute(1, 2, 0).numpy()
    picture = EmbeddedPicture.of("key", frame, "words")
    with Image.open(io.BytesIO(base64.b64decode(picture.data.split(",", 1)[1]))) as image:
        assert np.abs(np.asarray(image) / 255 - frame).max() <= 0.5 / 255 + 1e-6
    assert (picture.height, picture.width) == SIZE


def test_a_map_goes_from_black_to_bright() -> None:
    picture = EmbeddedPicture.of("key", np.array([[0.0, 1.0, 2.0]]), "words", colours=style.CONTRIBUTION)
    with Image.open(io.BytesIO(base64.b64decode(picture.data.split(",", 1)[1]))) as image:
        brightness = np.asarray(image).sum(axis=2)[0]
    assert brightness[0] < 10
    assert brightness[0] < brightness[1] < brightness[2]


def test_a_table_keeps_all_digits_for_download() -> None:
    table = PageTable.of(pd.DataFrame({"layer": ["head"], "r": [0.123456789]}), "Numbers", "caption", "name")
    assert table.rows == [["head", "0.123"]]
    assert list(table.text) == ["layer"]
    assert "0.123456789" in base64.b64decode(table.csv).decode()


def test_figures_switch_between_the_definitions_of_a_map(page: Seen) -> None:
    switches = {a["name"]: [] for a in page.all("input") if a.get("type") == "radio" and a["name"] != "view"}
    for a in page.all("input"):
        if a.get("name") in switches:
            switches[a["name"]].append((a["value"], "checked" in a))
    assert {"gallery-0", "grouping-0", "intensity-0", "motion-0"} <= set(switches)
    for name, choices in switches.items():
        assert choices == [(name, True), (f"{name}-paper", False)]
    hidden = {a["id"] for a in page.all("div") if "hidden" in a and "id" in a}
    assert hidden == {f"{name}-paper-variant" for name in switches}


def test_the_top_says_how_far_to_trust_the_maps(made: list[Run], page: Seen) -> None:
    text = " ".join(" ".join(page.text).split())
    median = [float(run_median) for run_median in _medians(made, "exact")]
    assert f"with a median correlation of {min(median):.3f}" in text
    assert "maps by paper reach" in text


def _medians(made: list[Run], method: str) -> Iterator[float]:
    for run in made:
        tree = Results((run.path or Path()) / FOLDER).tree()
        for layer in tree["fidelity"].children.values():
            yield float(layer.ds["correlation_median"].sel({"method": method}))
