"""Study files, descriptions of runs and clips, lists of objects and of neurons: texts that are bombs or lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hostile import Case, put

SIGNAL = '[[signal]]\npath = "bunny"\n'
DEEP = 50_000


def studies() -> Iterator[tuple[str, str | bytes]]:
    yield "of brackets", "a = " + "[" * DEEP
    yield "of tables in tables", "[" + ".".join("a" * DEEP) + "]"
    yield "of dotted keys", ".".join("a" * 20_000) + " = 1"
    yield "of two megabytes", "#" * 2_000_000
    yield "that is no text", b"\xff\xfe\0\1"
    yield "with a zero byte", SIGNAL + 'name = "a\\u0000b"'
    yield "with a signal that is a number", "signal = 3"
    yield "with signals that are numbers", "signal = [1, 2]"
    yield "with a table that is a word", 'study = "x"'
    yield "without a signal", "[study]"
    yield "that is empty", ""
    yield "with the key twice", "[study]\nseeds = [0]\nseeds = [1]\n" + SIGNAL
    for key in ("seeds", "epochs", "count", "every", "size", "learning_rate", "draws", "retries", "frames", "batch"):
        for value in ("nan", "inf", "-1", "1e20", "10000000000000000000000", '"word"', "true", "[]", "{}", "[[1]]"):
            yield f"with {key} of {value}", f"[study]\n{key} = {value}\n{SIGNAL}"
    for key in ("models", "methods", "encoding", "annotations", "layers", "category", "findings"):
        for value in ("3", '""', "nan", "[3]", "[]", "true", "[[]]"):
            yield f"with {key} of {value}", f"[study]\n{key} = {value}\n{SIGNAL}"
    yield (
        "of a hundred million cells",
        f"[study]\nseeds = {[*range(50_000)]}\nmodels = {['ffn', 'nerv', 'siren'] * 300}\n{SIGNAL}",
    )
    yield (
        "with a model of a bad option",
        '[[model]]\nname = "m"\nfamily = "ffn"\nwidth = nan\n[study]\nmodels = ["m"]\n' + SIGNAL,
    )
    yield (
        "with a model that is reserved",
        '[[model]]\nname = "m"\nfamily = "ffn"\nseed = 3\n[study]\nmodels = ["m"]\n' + SIGNAL,
    )
    yield "with a model of a family that is a list", '[[model]]\nname = "m"\nfamily = ["ffn"]\n' + SIGNAL
    yield "with a model without a name", '[[model]]\nfamily = "ffn"\n' + SIGNAL
    yield "with settings that are none", "[study.findings]\nclusters = 1e20\n" + SIGNAL
    yield "with settings of a bad name", "[study.findings]\nclustres = 3\n" + SIGNAL
    yield "with a pattern of the whole disk", '[[signal]]\npath = "/**/**/**/none.png"\n'
    yield "with a format that counts", SIGNAL + 'annotations = "{stem:>1000000000}"'
    yield "with a format that reaches inside", SIGNAL + 'annotations = "{stem.__class__}"'
    yield "with a path that is empty", '[[signal]]\npath = ""\n'
    yield "with a name that climbs", SIGNAL + 'name = "../../x"'


def edited(change: Callable[[dict[str, Any]], object], name: str) -> Callable[[Path], object]:
    """A run whose document was changed."""

    def make(folder: Path) -> None:
        shutil.copytree(folder.parent / "base" / "ffn", folder / "run")
        path = folder / "run" / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return make


def replaced(content: bytes, name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        shutil.copytree(folder.parent / "base" / "ffn", folder / "run")
        (folder / "run" / name).write_bytes(content)

    return make


VALUES = (None, True, -1, 0, 10**20, 1e400, float("nan"), "", "word", "1", [], {}, [[[]]], 2**20)


def runs() -> Iterator[tuple[str, Callable[[Path], object]]]:
    def setting(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
        return lambda content: content["config"].__setitem__(key, value)

    def top(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
        return lambda content: content.__setitem__(key, value)

    for value in VALUES:
        for key in ("width", "layers", "frequencies", "size", "frames", "scale", "output", "layout"):
            yield f"config of {key} {value!r}", edited(setting(key, value), "config.json")
        for key in ("format", "family", "config", "settings"):
            yield f"description of {key} {value!r}", edited(top(key, value), "config.json")
        for key in ("format", "size", "names", "frames", "fps", "annotated", "segments", "source"):
            yield f"clip of {key} {value!r}", edited(top(key, value), "signal/clip.json")
    yield "config with an option more", edited(setting("device", "cuda"), "config.json")
    yield "config of a million squared pixels", edited(setting("size", [2**20, 2**20]), "config.json")
    yield "clip of a million squared pixels", edited(top("size", [2**20, 2**20]), "signal/clip.json")
    yield "clip of a hundred thousand names", edited(top("names", ["a"] * 100_000), "signal/clip.json")
    yield "clip with segments that are none", edited(top("segments", [{"id": "a"}]), "signal/clip.json")
    yield "clip with frames elsewhere", edited(top("frames", "../../x"), "signal/clip.json")
    for name in ("config.json", "signal/clip.json"):
        for what, content in (
            ("of brackets", b"[" * DEEP),
            ("of nested tables", b'{"a":' * DEEP),
            ("that is empty", b""),
            ("that is no text", b"\xff\xfe"),
            ("that is a list", b"[]"),
            ("that is null", b"null"),
            ("of a number of a million digits", b'{"format": ' + b"9" * 1_000_000 + b"}"),
            ("of sixty megabytes", b'{"a": "' + b"x" * (60 << 20) + b'"}'),
        ):
            yield f"{name} {what}", replaced(content, name)
    for what, content in (
        ("of words", b"epoch,psnr,loss,learning_rate,seconds\na,b,c,d,e\n"),
        ("of too few columns", b"epoch,psnr,loss,learning_rate,seconds\n1,2\n"),
        ("of numbers that are huge", b"epoch,psnr,loss,learning_rate,seconds\n" + b"9" * 5000 + b",1,1,1,1\n"),
        ("that is no text", b"\xff\xfe\n\xff"),
    ):
        yield f"history {what}", replaced(content, "history.csv")


def neurons() -> Iterator[tuple[str, bytes]]:
    yield "of brackets", b"[" * DEEP
    yield "of nested tables", b'{"a":' * DEEP
    yield "that is empty", b""
    yield "that is no text", b"\xff\xfe"
    yield "without a layer", b"{}"
    yield "of a layer that is none", b'{"layer99": [0]}'
    for value in (
        "[1e20]",
        "[-1]",
        "[10000000000000000000000]",
        "[NaN]",
        '["0"]',
        "[true]",
        "[null]",
        "3",
        "{}",
        "[[0]]",
        "[0.5]",
        "[]",
    ):
        yield f"of {value}", b'{"layer3": ' + value.encode() + b"}"
    yield "of ten million numbers", b'{"layer3": [' + b"0," * 10_000_000 + b"0]}"


BOX = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}


def objects() -> Iterator[tuple[str, bytes]]:
    def of(annotation: Any, **more: Any) -> bytes:
        whole = {
            "images": [{"id": 1, "file_name": "picture.png"}],
            "annotations": [annotation],
            "categories": [{"id": 1, "name": "thing"}],
            **more,
        }
        return json.dumps(whole).encode()

    yield "of brackets", b"[" * DEEP
    yield "that are empty", b""
    yield "that are a list", b"[]"
    yield "without lists", b'{"annotations": 3, "categories": 4}'
    yield "with an annotation that is a number", of(3)
    for key in ("image_id", "category_id", "id", "track_id"):
        for value in ([], {}, None, 10**30, "x"):
            yield f"with {key} of {value!r}", of({**BOX, key: value})
    shapes: dict[str, Any] = {
        "words": "abc",
        "lists of words": [["a", "b"]],
        "an odd list": [[1, 2, 3]],
        "infinite corners": [[float("inf"), 0, 1, 1, 2, 2]],
        "corners at 10^300": [[1e300, 0, 1, 1e300, 2, 2]],
        "corners at 10^12": [[0, 0, 1e12, 0, 1e12, 1e12]],
        "run lengths of another size": {"size": [10**9, 10**9], "counts": [10**18]},
        "run lengths beyond the frame": {"size": [16, 16], "counts": [10**18, 1]},
        "run lengths below zero": {"size": [16, 16], "counts": [-1, 257]},
        "run lengths of words": {"size": [16, 16], "counts": ["a"]},
        "run lengths of no sense": {"size": [16, 16], "counts": "\u20ac" * 9},
        "run lengths without end": {"size": [16, 16], "counts": "o" * 100_000},
        "a size that is none": {"size": 3, "counts": [256]},
        "counts that are none": {"size": [16, 16], "counts": None},
        "nested lists": [[[[0, 0, 1, 1, 2, 2]]]],
    }
    for what, shape in shapes.items():
        yield f"with {what}", of({**BOX, "segmentation": shape})
    yield "of no image", of(BOX, images=[])
    yield "of images without ids", of(BOX, images=[{}])
    yield "of images with ids that are lists", of(BOX, images=[{"id": [], "file_name": "picture.png"}])
    yield "of categories without ids", of(BOX, categories=[{}])
    yield "of categories with ids that are lists", of(BOX, categories=[{"id": []}])
    yield "of videos that are none", of(BOX, videos=[{"id": 1, "file_names": 3}])
    yield "of videos with ids that are lists", of(BOX, videos=[{"id": [], "file_names": ["picture.png"]}])
    yield "with panoptic pictures elsewhere", of({**BOX, "segments_info": [], "file_name": "../../../../etc/passwd"})
    yield "with panoptic pictures without a name", of({**BOX, "segments_info": [], "file_name": None})
    yield "with a name with a zero byte", of({**BOX, "segments_info": [], "file_name": "a\0b.png"})
    yield "with segments that are none", of({**BOX, "segments_info": 3, "file_name": "picture.png"})


def cases() -> Iterator[Case]:
    for what, told in studies():
        content = told if isinstance(told, bytes) else told.encode()
        words = ("sweep", "{at}/s.toml", "--out", "{at}/out", "--dry-run")
        easy = any(end in what for end in ("batch of 1e20", "of [[1]]"))
        yield Case(
            f"study {what}",
            words,
            put("s.toml", content),
            "either" if easy or "findings of" in what or "reaches" in what else "refused",
        )
    for what, make in runs():
        yield Case(f"run: {what}", ("inspect", "{at}/run"), make, "either")
    for what, content in neurons():
        words = ("prune", "{base}/ffn", "--neurons", "{at}/n.json", "--out", "{at}/out")
        yield Case(f"neurons {what}", words, put("n.json", content), "either" if "ten million" in what else "refused")
    for what, content in objects():
        words = ("fit", "{base}/picture.png", "--model", "ffn", "--size", "8x8", "--epochs", "1", "--set", "width=4")
        yield Case(
            f"objects {what}",
            (*words, "--annotations", "{at}/o.json", "--out", "{at}/run"),
            put("o.json", content),
            "either",
        )
