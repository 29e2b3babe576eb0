"""The page where one points at a pixel, in Debian's Chromium: from an action to what is seen, medians over 30 actions.

    python benchmarks/explore.py RUN... [--out benchmarks/results/explore.json]

Each run is served by `xinc explore` in a process of its own and measured there; then the page is exported as one file,
if it can be, and measured again. Actions are random pixels, neurons and pairs of neurons of random layers: ``map`` is
until a neuron's map is seen, a coarse one where that comes first, ``exact map`` until the exact one is. ``listed map``
is a click on a random neuron of the list that a random pixel gave, a second after its small pictures were there: what
people do. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ACTIONS = 30
WALK = 300

MEASURE = """async ([change, seen]) => {
  const before = performance.now();
  xinc.state.set(change);
  const title = change.place && `Pixel ${change.place.replace(",", ", ")},`;
  const done = () => (seen === "panel"
    ? document.querySelector("#body[data-tab='place'] h2")?.textContent.includes(title)
    : !document.querySelector(seen === "exact" ? ".stage[aria-busy]" : ".stage.busy"));
  await new Promise((go) => {
    const look = () => (done() ? go() : requestAnimationFrame(look));
    requestAnimationFrame(look);
  });
  return performance.now() - before;
}"""


SMALL = """() => {
  const small = Array.from(document.querySelectorAll(".ranked canvas"));
  return small.length && small.every((one) => one.width !== 64 || one.height !== 36);
}"""
REST = 1.0
"""Seconds that somebody looks at a list before they click."""


def opened(browser: Any, address: str, since: float) -> tuple[Page, float]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script("try { localStorage.setItem('xinc-toured', 'yes'); } catch {}")
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.wait_for_selector(".stage:not(.busy) figcaption span")
    return page, time.perf_counter() - since


def actions(page: Page, count: int, seed: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of action."""
    chance = random.Random(seed)
    run = page.evaluate("(({ size, layers, frames }) => ({ size, layers, frames }))(xinc.how().run)")
    found: dict[str, list[float]] = {"pixel": [], "map": [], "exact map": [], "without": []}
    for _ in range(count):
        layer = chance.choice(run["layers"])
        pixel = ",".join(str(chance.randrange(n)) for n in run["size"])
        first, second = (chance.randrange(layer["neurons"]) for _ in range(2))
        plain = {"layer": layer["name"], "off": "", "k": -1, "view": "original", "place": "", "tab": "place"}
        page.evaluate(MEASURE, [plain, "stage"])
        found["pixel"].append(page.evaluate(MEASURE, [{"place": pixel}, "panel"]))
        page.evaluate(MEASURE, [{"place": "", "tab": "trust"}, "stage"])
        before = time.perf_counter()
        found["map"].append(page.evaluate(MEASURE, [{"k": first, "view": "neuron"}, "stage"]))
        page.wait_for_selector(".stage:not([aria-busy])")
        found["exact map"].append(max(found["map"][-1], 1000 * (time.perf_counter() - before)))
        found.setdefault(f"exact map, {layer['name']}", []).append(found["exact map"][-1])
        found.setdefault(f"map, {layer['name']}", []).append(found["map"][-1])
        chosen = f"{layer['name']}:{first},{second}"
        found["without"].append(page.evaluate(MEASURE, [{"off": chosen, "view": "without"}, "stage"]))
    return found


def listed(page: Page, count: int, seed: int) -> list[float]:
    """Milliseconds from a click in a list of neurons to the map, coarse or exact."""
    chance = random.Random(seed)
    run = page.evaluate("(({ size, layers }) => ({ size, layers }))(xinc.how().run)")
    found = []
    for _ in range(count):
        layer, pixel = chance.choice(run["layers"]), ",".join(str(chance.randrange(n)) for n in run["size"])
        plain = {"layer": layer["name"], "off": "", "k": -1, "view": "original", "place": "", "tab": "place"}
        page.evaluate(MEASURE, [plain, "stage"])
        page.evaluate(MEASURE, [{"place": pixel}, "panel"])
        page.wait_for_function(SMALL)
        page.wait_for_timeout(1000 * REST)
        rows = page.eval_on_selector_all(".ranked .name", "all => all.map((one) => one.textContent.match(/[0-9]+/)[0])")
        found.append(
            page.evaluate(MEASURE, [{"k": int(chance.choice(rows)), "view": "neuron", "tab": "neuron"}, "stage"])
        )
    return found


def medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {f"{name} (s, median)": round(statistics.median(values) / 1000, 3) for name, values in found.items()}


def resident(process: subprocess.Popen[str], field: str) -> float:
    """Megabytes of a process: VmRSS now, VmHWM at most."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return round(int(text.split(f"{field}:")[1].split()[0]) / 1024)


def served(browser: Any, run: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "xinc", "explore", str(run), "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = next(line.split()[-1] for line in process.stderr if "http" in line)
    page, first = opened(browser, address, time.perf_counter())
    actions(page, 2, 0)  # compiles
    found = actions(page, ACTIONS, 1) | {"listed map": listed(page, ACTIONS, 3)}
    page.evaluate(MEASURE, [{"t": 1, "view": "network"}, "stage"])
    chance = random.Random(2)
    frames = page.evaluate("xinc.how().run.frames")
    for _ in range(WALK // 10):
        page.evaluate(MEASURE, [{"t": chance.randrange(frames), "off": "", "view": "network"}, "stage"])
        actions(page, 3, chance.randrange(10**6))
    row = {
        "first view (s)": round(first, 2),
        **medians(found),
        "resident after 300 actions (MB)": resident(process, "VmRSS"),
    }
    row["resident at most (MB)"] = resident(process, "VmHWM")
    page.close()
    process.terminate()
    process.wait(20)
    return row


def from_file(browser: Any, run: Path, folder: Path) -> dict[str, Any] | None:
    path = folder / "page.html"
    command = [sys.executable, "-m", "xinc", "explore", str(run), "--export", str(path)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        return {"no file": made.stderr.strip().splitlines()[-1]}
    page, first = opened(browser, path.as_uri(), time.perf_counter())
    actions(page, 2, 0)
    row = {"size (MB)": round(path.stat().st_size / 1e6, 2), "first view (s)": round(first, 2)}
    row |= medians(actions(page, ACTIONS, 1) | {"listed map": listed(page, ACTIONS, 3)})
    page.close()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "explore.json")
    asked = parser.parse_args()
    rows = {}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        executable = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for run in asked.runs:
            about = json.loads((run / "config.json").read_text())
            size = "×".join(str(n) for n in about["config"]["size"])
            name = f"{about['family']}, {about['config'].get('frames', 1)} frames of {size}"
            rows[name] = {"server": served(browser, run), "file": from_file(browser, run, Path(folder))}
            print(json.dumps({name: rows[name]}, indent=1, ensure_ascii=False))
        version = browser.version
        browser.close()
    made = {"date": str(date.today()), "machine": f"{platform.machine()}, 2 cores", "chromium": version, "rows": rows}
    asked.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
