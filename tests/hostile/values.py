"""Values that ask for more than any machine has, or for nothing that there is; run under a bound of memory."""

from __future__ import annotations

from collections.abc import Iterator

from hostile import Case

FIT = ("fit", "{base}/picture.png", "--model", "ffn", "--epochs", "1", "--size", "8x8", "--out", "{at}/run")
NERV = ("fit", "{base}/frames", "--model", "nerv", "--epochs", "1", "--size", "16x32", "--out", "{at}/run")
ANALYSE = ("analyse", "{base}/ffn", "--layers", "layer3", "--findings", "intensity")


def refused() -> Iterator[tuple[str, ...]]:
    for pair in ("width=16384", "params=1e9", "bpp=1e8", "frequencies=262144", "layers=256,3", "layers=1e20"):
        size = ("--set", "width=16384") if pair.startswith("frequencies") else ()
        yield (*FIT, "--set", pair, *size)
    for pair in (
        "fc_dim=16384",
        "floor=16384",
        "params=1e8",
        "bpp=1e8",
        "strides=64,64,64",
        "levels=1e20",
        "kernels=64",
    ):
        yield (*NERV, "--set", pair)
    for word in ("", "nan", "-1", "coko", "[/b]"):
        yield (*FIT, "--encoding", word)
        yield (*FIT, "--recipe", word)
        yield (*FIT, "--device", word)
    for word in ("", ",", " , ", "nan", "layer99", "[/b]"):
        yield ("trace", "{base}/ffn", "--layers", word)
        yield ("trace", "{base}/ffn", "--method", word)
        yield ("analyse", "{base}/ffn", "--findings", word)
        yield ("verify", "{base}/ffn", "--method", word)
        yield ("report", "{base}/ffn", "--method", word, "--out", "{at}/r.html")
        yield ("analyse", "{base}/nerv", "--layers", "head", "--flows", word)
    for word in ("", "nan", "tcp://", "host", "1e20", "tcp://a:99999999"):
        yield ("sweep", "{base}/study.toml", "--out", "{at}/out", "--dry-run", "--scheduler", word)
    for word in ("0", "-1", "1e20", "1" + "0" * 30, "nan"):
        yield ("sweep", "{base}/study.toml", "--out", "{at}/out", "--dry-run", "--workers", word)
        yield ("attribute", "{base}/ffn", "--count", word)
        yield ("explore", "{base}/ffn", "--port", word)
        yield ("prune", "{base}/ffn", "--layer", "layer3", "--fraction", word)
    for word in ("pixel:1e20,0", "pixel:-1,0", "pixel:9,9,9", "region:", "region:none", "errors", "pixel:²,0", ""):
        yield ("attribute", "{base}/ffn", "--to", word)
    for word in ("1x1x99999999x99999999", "1x" * 60 + "1", "-1x2", "0x3", "x", "", "9" * 5000, "1x1e20"):
        yield ("inspect", "torch.nn:Identity", "--input-shape", word)
    for word in ("0:99999," * 40 + "0", "99999:0", "1:2:0", "0-3", "0:1000000000000", "nan", "²"):
        yield ("trace", "{base}/ffn", "--frames", word)
    for word in ("0", "-1", "nan", "1", "1 TB!", "1e3GB", "63MB", "9" * 30, ""):
        yield ("--memory", word, "inspect", "{base}/ffn")
    yield ("inspect", "{base}/ffn", "--memory", "many")
    yield ("inspect", "{base}/ffn", "--memory")
    yield (*ANALYSE, "--set", "clusters=1e20")
    yield (*ANALYSE, "--set", "points=1e20")


def works() -> Iterator[tuple[str, ...]]:
    yield ("inspect", "{base}/ffn", "--memory", "900MB")
    yield ("--memory=0.5 GiB", "inspect", "{base}/ffn")
    yield (*FIT, "--set", "width=4.0", "--set", "batch=1e9", "--memory", "500mb")
    yield (*ANALYSE, "--set", "points=1048576")


def cases() -> Iterator[Case]:
    for wanted, calls in (("refused", refused()), ("works", works())):
        for words in calls:
            told = " ".join(word[:30] for word in words if not word.startswith("{"))
            yield Case(f"value: {told}", words, wanted=wanted)  # type: ignore[arg-type]
