"""Networks as small files: what is written is read back to the bit, and what is damaged or hostile gets one line."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import xinc as package
from click_free import one_line, xinc
from tiny_runs import runs
from xinc import models
from xinc.errors import CheckpointError, ModelError, PlaceError, XincError
from xinc.imported import import_checkpoint
from xinc.models.base import INR
from xinc.models.checkpoints.coded import LENGTHS, MAGIC, decode, encode, quantise

SIZE = (64, 64)


def network(name: str) -> INR:
    torch.manual_seed(1)
    options: dict[str, Any] = {"fc_dim": 12} if name.endswith("nerv") else {"width": 40}
    return models.build(name, SIZE, 3 if name.endswith("nerv") else 1, **options)


@pytest.fixture(scope="module")
def data() -> bytes:
    return encode(network("nerv"))


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("name", list(models.FAMILIES))
def test_what_is_written_is_read_back_to_the_bit(name: str, bits: int) -> None:
    model = network(name)
    found = decode(encode(model, bits), "it")
    assert found.config == model.config
    trained = dict(model.named_parameters())
    for key, value in model.state_dict().items():
        expected = quantise(value, bits).tensor if key in trained else value
        assert torch.equal(found.weights[key], expected), key
    assert found.model().render(0).shape == (3, *SIZE)


def test_a_channel_has_ends_of_its_own_where_that_is_nearer() -> None:
    torch.manual_seed(0)
    apart = torch.randn(4, 900) * torch.tensor([1e-3, 1e-2, 1e-1, 1.0])[:, None]
    found = quantise(apart, 8)
    assert found.axis == 0
    step = (apart.amax(1) - apart.amin(1)) / 255
    assert ((found.tensor - apart).abs().amax(1) <= 0.75 * step).all()  # half a step, and what float16 rounds
    assert quantise(apart[:, :40], 8).axis == -1  # ends of its channels would cost too much
    assert quantise(torch.full((3, 300), 0.25), 8).tensor.unique().tolist() == [0.25]
    assert quantise(torch.randn(4, 900) * 1e6, 8).axis == -1  # ends that float16 does not hold


def test_fewer_bits_take_less_and_the_coder_comes_near_the_entropy() -> None:
    model = network("nerv")
    sizes = [len(encode(model, bits)) for bits in (8, 6, 4, 2)]
    assert sizes == sorted(sizes, reverse=True)
    with torch.no_grad():
        for weight in model.parameters():  # nine of ten are zero, which is another value in each channel
            weight.mul_(torch.rand(weight.shape) < 0.1)
    assert len(encode(model)) < 0.8 * sizes[0]


def test_what_cannot_be_coded_is_refused() -> None:
    model = network("ffn")
    for bits in (1, 9):
        with pytest.raises(ModelError, match="bits cannot be"):
            encode(model, bits)
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    with pytest.raises(ModelError, match="no finite numbers"):
        encode(model)


def test_no_damage_goes_unseen(data: bytes) -> None:
    for place in range(0, len(data), max(1, len(data) // 60)):
        hurt = bytearray(data)
        hurt[place] ^= 0x41
        with pytest.raises(CheckpointError, match="is damaged"):
            decode(bytes(hurt), "it")
    for end in (0, 4, 12, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(CheckpointError, match="is damaged"):
            decode(data[:end], "it")


def forged(data: bytes, **changes: Any) -> bytes:
    """The file with another description and a checksum that fits it."""
    _, head, side = LENGTHS.unpack_from(data, len(MAGIC))
    start = len(MAGIC) + LENGTHS.size
    described = json.loads(zlib.decompress(data[start : start + head]))
    for key, value in changes.items():
        (described["config"] if key in described["config"] else described)[key] = value
    packed = zlib.compress(json.dumps(described).encode())
    rest = packed + data[start + head :]
    return MAGIC + LENGTHS.pack(zlib.crc32(rest), len(packed), side) + rest


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": [2**20, 2**20], "grid": [2**16, 2**16]}, "of memory"),
        ({"widths": [16384, 16384, 16384, 16384]}, "cannot hold"),
        ({"family": "gru"}, "is damaged"),
        ({"bits": 64}, "is damaged"),
        ({"strides": [3, 2, 2]}, "is damaged"),
        ({"tensors": []}, "is damaged"),
        ({"tensors": [[7, True]] * 10}, "is damaged"),
        ({"tensors": [None] * 10}, "is damaged"),
        ({"tensors": [[-1, False]] * 10}, "is damaged"),
        ({"tensors": "0123456789"}, "is damaged"),
        ({"config": 3}, "is damaged"),
    ],
)
def test_a_forged_description_is_refused_before_memory_is_taken(data: bytes, changes: Any, says: str) -> None:
    assert decode(forged(data), "it").bits == 8
    with pytest.raises(CheckpointError, match=says) as caught:
        decode(forged(data, **changes), "it")
    assert "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked(data: bytes) -> None:
    packed = zlib.compress(bytes(2**27), 9)
    for head, side in ((packed, b""), (zlib.compress(b"{}"), packed)):
        rest = head + side
        with pytest.raises(CheckpointError, match="is damaged"):
            decode(MAGIC + struct.pack("<III", zlib.crc32(rest), len(head), len(side)) + rest, "it")


def test_export_and_import_as_commands(tmp_path: Path) -> None:
    run, file, signal = runs()[0], tmp_path / "it.xinc", tmp_path / "frames"
    ran = xinc("export", str(run.path), "--out", str(file), "--json", str(tmp_path / "it.json"))
    assert ran.code == 0, ran
    rows = json.loads((tmp_path / "it.json").read_text())
    assert [row["bytes"] for row in rows[:2]] == [4 * run.parameters, file.stat().st_size]
    assert rows[1]["bits a pixel"] == pytest.approx(8 * file.stat().st_size / (3 * 32 * 64))
    assert rows[2]["what"].startswith("x264")
    assert rows[2]["PSNR (dB)"] >= rows[1]["PSNR (dB)"]

    signal.mkdir()
    for t in range(len(run.clip)):
        picture = (run.clip.frame(t) * 255).round().byte().movedim(0, -1).numpy()
        Image.fromarray(picture).save(signal / f"{t}.png")
    back = import_checkpoint(file, None, run.clip)
    assert float(back.psnr().mean()) == pytest.approx(rows[1]["PSNR (dB)"], abs=1e-4)
    assert back.config == run.config
    assert package.trace(back.model, back.input(1)).layers == run.canvas(1).layers

    for given, says in [
        (("--as", "ffn"), "try --as nerv"),
        (("--count", "2"), "choose them by every, start and count"),
        (("--size", "8x8"), "not 8×8"),
    ]:
        refused = xinc("import", str(file), "--signal", str(signal), "--out", str(tmp_path / "back"), *given)
        assert refused.code == 2
        assert says in " ".join(refused.err.split())  # behind what was done before: the signal is opened
    file.write_bytes(file.read_bytes()[:-9])
    refused = xinc("import", str(file), "--signal", str(signal), "--out", str(tmp_path / "back"))
    assert "is damaged" in one_line(refused)
    looked = xinc("inspect", str(file))
    assert looked.code == 2


def test_a_run_that_may_only_be_read_is_measured_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xinc.findings.results import Results
    from xinc.findings.sizes.sizes import measure

    def refuse(*_: Any) -> None:
        raise PlaceError("results.zarr may only be read")

    run = runs()[1]
    monkeypatch.setattr(Results, "put", refuse)
    found = measure(run, 4)
    assert found.film is not None
    assert found.film.psnr >= found.psnr
    assert found.psnr <= found.trained + 0.1
    with pytest.raises(XincError):
        measure(run, 17)


def test_x264_is_asked_for_the_coarsest_film_that_is_as_good() -> None:
    from xinc.findings.sizes.x264 import STEP, at_quality, encoded

    clip = runs()[0].clip
    film = at_quality(clip, 32.0)
    assert film is not None
    assert film.psnr >= 32.0
    encoder = {"rgb24": "libx264rgb"}.get(film.colours, "libx264")
    assert encoded(clip, encoder, film.colours, film.crf + STEP).psnr < 32.0
    lossless = at_quality(clip, 55.0)
    assert lossless is not None
    assert lossless.colours == "rgb24"  # luma and chroma of 8 bits do not come to that
    assert lossless.size > film.size
    assert at_quality(clip, 99.0) is None


def test_x264_tells_of_itself_for_nothing() -> None:
    from xinc.findings.sizes.x264 import _without_notes

    film = b"\0\0\0\1\x67abc" + b"\0\0\1\x06 x264 - core" + b"\0\0\1\x65picture"
    assert _without_notes(film) == b"\0\0\1\x67abc\0\0\1\x65picture"
