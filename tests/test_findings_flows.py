from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from click_free import xinc
from tiny_runs import FRAMES, SIZE, folder, runs
from xinc.errors import FindingError
from xinc.findings.flows import read_flows
from xinc.findings.results import Results

NAMES = ("00000", "00001", "00002")


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Flow (H, W, 2) in Middlebury's format: a magic number, width, height, interleaved x and y."""
    height, width = flow.shape[:2]
    head = np.float32(202021.25).tobytes() + np.int32(width).tobytes() + np.int32(height).tobytes()
    path.write_bytes(head + flow.astype("<f4").tobytes())


def test_both_formats_and_both_orders_are_the_same_flow(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
    write_flo(tmp_path / "00001.flo", flow)
    np.save(tmp_path / "2.npy", flow.transpose(2, 0, 1))
    found = read_flows(tmp_path, NAMES, (6, 8))
    assert list(found) == [1, 2]
    for one in found.values():
        np.testing.assert_array_equal(one.velocity, -flow.transpose(2, 0, 1))
        assert (one.source, one.uncovered.any()) == ("given", False)


def test_flow_of_another_size_is_in_pixels_of_the_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "00001.npy", np.broadcast_to(np.float32([8, 2]), (12, 32, 2)))
    velocity = read_flows(tmp_path, NAMES, (6, 16))[1].velocity
    assert velocity.shape == (2, 6, 16)
    np.testing.assert_allclose(velocity, np.broadcast_to(np.array([-4, -1])[:, None, None], (2, 6, 16)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("00001.flo", b"PIEH" + bytes(8), r"not \(2, 0, 0\)"),
        ("00001.flo", b"PI", "does not begin as a .flo file does"),
        ("00001.flo", np.float32(202021.25).tobytes() + np.int32([8, 6]).tobytes() + bytes(40), "cannot be read"),
        ("00001.npy", b"nothing", "cannot be read as optical flow"),
        ("00001.npy", np.zeros((6, 8, 3)), r"not \(6, 8, 3\)"),
        ("00001.npy", np.full((6, 8, 2), np.nan), "finite"),
        ("00001.npy", np.zeros((8, 8, 2)), "no multiple of the frames' 6×8"),
        ("00000.npy", np.zeros((6, 8, 2)), "after the first"),
        ("other.npy", np.zeros((6, 8, 2)), "such as 00002"),
    ],
)
def test_what_is_no_flow_is_said(tmp_path: Path, name: str, content: bytes | np.ndarray, words: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content)
    with pytest.raises(FindingError, match=words):
        read_flows(tmp_path, NAMES, (6, 8))


def test_the_command_takes_flows(tmp_path: Path) -> None:
    runs()
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = np.linspace(-3, 3, SIZE[1])
    np.save(tmp_path / "c.npy", flow)
    run = folder() / "nerv"
    ask = ("analyse", str(run), "--method", "official", "--findings", "motion", "--layers", "head")
    ran = xinc(*ask, "--frames", f"1,{FRAMES - 1}", "--flows", str(tmp_path))
    assert ran.code == 0, ran
    found = Results(run / "results.zarr").tree()["motion/official/head"].ds
    np.testing.assert_array_equal(found["velocity"].sel(frame=FRAMES - 1)[0], -flow[..., 0])
    assert xinc(*ask, "--flows", str(tmp_path / "none")).code == 2
