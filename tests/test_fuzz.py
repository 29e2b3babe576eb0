"""Readers of files meet random damage: each gives what it reads or one error of ours, and nothing else.

``XINC_FUZZ=2000`` tries so many of each; what Hypothesis finds stays as an example or a case of ``hostile``.
"""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from hostile import pickles
from xinc.errors import CheckpointError, FindingError, ModelError, RunError, SignalError, StudyError, XincError
from xinc.findings.optical_flow.flows import read_flows
from xinc.findings.pruning.without import read_chosen
from xinc.models.checkpoints.importing import open_checkpoint, outline
from xinc.models.families import FAMILIES, configure
from xinc.models.fitting.fit import read_checkpoint
from xinc.run import load
from xinc.signals.clip import Clip
from xinc.signals.datasets.coco_instances import read_objects
from xinc.signals.pictures import read_ids, read_rgb
from xinc.signals.preprocess import Geometry
from xinc.sweep.study import read_study

TRIES = int(os.environ.get("XINC_FUZZ", "40"))
fuzzed = settings(
    max_examples=TRIES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WEIGHTS = {
    f"net.{i}.linear.{end}": torch.ones(shape) for i in (0, 1) for end, shape in (("weight", (3, 2)), ("bias", (3,)))
}


def saved(value: object, **how: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)  # type: ignore[arg-type]
    return file.getvalue()


def picture(form: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(file, form)
    return file.getvalue()


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@st.composite
def damaged(draw: st.DrawFn, wholes: tuple[bytes, ...]) -> bytes:
    """A whole file with some bytes changed, cut out or put in."""
    content = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        new = draw(
            st.binary(max_size=9) | st.sampled_from((b"\xff" * 4, b"\0" * 8, b"\x7f\xff\xff\xff", b"[[[[", b"1e999"))
        )
        content[at : at + draw(st.integers(0, 12))] = new
    return bytes(content[: draw(st.integers(0, len(content)))]) if draw(st.booleans()) else bytes(content)


def tried(read: Callable[[], object], *errors: type[XincError]) -> None:
    """Read; one line of an error that is expected is as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read()
            told = "read"
        except errors as error:
            told = str(error)
    assert 0 < len(told) < 3000


TORCH = (
    saved(WEIGHTS),
    saved({"state_dict": WEIGHTS, "epoch": 3}),
    saved(WEIGHTS, _use_new_zipfile_serialization=False),
)


@fuzzed
@given(content=damaged((*TORCH, save(WEIGHTS))))
def test_checkpoints(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(content)
    tried(lambda: outline(open_checkpoint(path)), CheckpointError, ModelError, SignalError)


PIECES = (
    *(
        b"(",
        b"]",
        b"}",
        b")",
        b"t",
        b"u",
        b"s",
        b"a",
        b"e",
        b"0",
        b"1",
        b"2",
        b"Q",
        b"R",
        b"b",
        b"o",
        b"\x81",
        b"\x8f",
        b"\x90",
    ),
    *(
        b"N",
        b"I1\n",
        b"I-1\n",
        b"K\2",
        b"q\0",
        b"h\0",
        b"\x94",
        b"X\1\0\0\0w",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x91",
        b"\x93",
    ),
    *(b"ctorch\nSize\n", b"ccollections\nOrderedDict\n", b"cos\nsystem\n", pickles.REBUILD, pickles.stored(), b"."),
    pickles.shaped((1,), (1,)),
)


@fuzzed
@given(parts=st.lists(st.sampled_from(PIECES), max_size=30))
@example(parts=[b"}", b"q\0", b"X\1\0\0\0w", b"h\0", b"s", b"."])
def test_programs_of_the_unpickler(parts: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(pickles.zipped(b"".join(parts) + b"."))
    tried(lambda: open_checkpoint(path), CheckpointError)


@fuzzed
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=4, max_size=8),
    family=st.sampled_from(sorted(FAMILIES)),
)
def test_weights_of_any_shape(shapes: list[list[int]], family: str, tmp_path: Path) -> None:
    size = (16, 32)
    config = configure(
        family, size, 1, **({"width": 2} if FAMILIES[family].still else {"fc_dim": 2, "strides": (4, 2)})
    )
    with torch.device("meta"):
        names = list(FAMILIES[family].model(config).state_dict())
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({name: torch.ones(shape) for name, shape in zip(names, shapes, strict=False)}))
    tried(lambda: outline(open_checkpoint(path)), CheckpointError, ModelError, SignalError)


PICTURES = tuple(picture(form) for form in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "TGA"))


@fuzzed
@given(
    content=damaged((*PICTURES, picture("PNG", "P"), picture("PNG", "L"), picture("TIFF", "F"), picture("PNG", "I;16")))
)
def test_pictures_and_label_images(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(content)
    tried(lambda: read_rgb(path), SignalError)
    tried(lambda: read_ids(path), SignalError)


FLO = struct.pack("<fii", 202021.25, 8, 4) + bytes(8 * 32)


@fuzzed
@given(
    content=damaged((FLO, array(np.zeros((4, 8, 2), np.float32)), array(np.zeros((2, 4, 8))))),
    ending=st.sampled_from(("flo", "npy")),
)
def test_optical_flow(content: bytes, ending: str, tmp_path: Path) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    (tmp_path / f"b.{ending}").write_bytes(content)
    tried(lambda: read_flows(tmp_path, ("a", "b"), (4, 8)), FindingError)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
STUDY = b"""[study]
models = ["ffn", "m"]
seeds = [0]
size = [16, 16]
[[model]]
name = "m"
family = "ffn"
width = 4
[[signal]]
path = "bunny"
"""


@fuzzed
@given(content=damaged((STUDY,)))
def test_study_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    tried(lambda: read_study(path), StudyError)


@fuzzed
@given(content=damaged((b'{"head": [0, 3], "block1": [17]}',)) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_neurons(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    path.write_bytes(content)
    tried(lambda: read_chosen(path), FindingError)


ANNOTATION = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}


@fuzzed
@given(
    key=st.sampled_from((*ANNOTATION, "segments_info", "file_name", "iscrowd", "track_id")), value=VALUES, more=VALUES
)
def test_objects(key: str, value: object, more: object, tmp_path: Path) -> None:
    images, categories = [{"id": 1, "file_name": "a.png"}], [{"id": 1, "name": "x"}]
    whole = {"images": images, "annotations": [{**ANNOTATION, key: value}], "categories": categories}
    path = tmp_path / "o.json"
    for content in (whole, {**whole, "images": more}, {**whole, "categories": more}, {**whole, "videos": more}):
        path.write_text(json.dumps(content))
        tried(lambda: read_objects(path, ("a",), Geometry.of((8, 8), None)), SignalError)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import xinc

    folder = tmp_path_factory.mktemp("fuzz") / "run"
    xinc.fit("ffn", Clip(torch.rand(1, 3, 8, 8), ("a",)), epochs=1, width=4, out=folder)
    return folder


@pytest.fixture
def kept(run: Path) -> Iterator[Path]:
    """The run, as it was once the test is over."""
    whole = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    yield run
    for path, content in whole.items():
        path.write_bytes(content)


@fuzzed
@given(
    key=st.sampled_from(("size", "frames", "width", "layers", "frequencies", "scale", "output", "other")), value=VALUES
)
def test_descriptions_of_runs(key: str, value: object, kept: Path) -> None:
    path = kept / "config.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "config": {**whole["config"], key: value}}))
    tried(lambda: load(kept), RunError)
    path.write_text(json.dumps({**whole, key: value, "family": value if key == "other" else whole["family"]}))
    tried(lambda: load(kept), RunError)
    path.write_text(json.dumps(whole))


@fuzzed
@given(name=st.sampled_from(("config.json", "signal/clip.json", "history.csv", "model.safetensors")), data=st.data())
def test_files_of_runs(name: str, data: st.DataObject, kept: Path) -> None:
    whole = (kept / name).read_bytes()
    (kept / name).write_bytes(data.draw(damaged((whole,))))
    tried(lambda: load(kept), RunError)
    (kept / name).write_bytes(whole)


@fuzzed
@given(
    content=damaged(
        (
            saved(
                {
                    "format": 1,
                    "task": {"seed": 0},
                    "model": WEIGHTS,
                    "history": [(1, 2.0)],
                    "optimiser": {},
                    "best": WEIGHTS,
                    "best_loss": 0.5,
                }
            ),
        )
    )
)
def test_unfinished_fits(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fit.ckpt"
    path.write_bytes(content)
    tried(lambda: read_checkpoint(path, {"seed": 0}), RunError)
