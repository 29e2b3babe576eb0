"""Film the moving picture of the README: the page where one points at a pixel, on the demonstration's NeRV.

python scripts/film_readme_page.py [xinc-demo/nerv] [docs/images/explore.webp]
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import xinc
from xinc.explore.html import export

SIZE = (1180, 700)
FACE = (0.56, 0.27)
"""Where the rabbit's face is, as shares of height and width."""


def scenes(page):
    """Act on the page; yields how long each picture stands, in milliseconds."""
    box = page.locator(".frame canvas").first.bounding_box()

    def at(y, x):
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    yield 900
    for step in range(5):
        share = (step + 1) / 5
        page.mouse.move(*at(0.2 + share * (FACE[0] - 0.2), 0.7 + share * (FACE[1] - 0.7)))
        page.wait_for_timeout(250)
        yield 260
    page.mouse.click(*at(*FACE))
    page.wait_for_timeout(1200)
    yield 1800
    page.locator(".ranked .name").first.click()
    page.wait_for_timeout(3500)
    yield 2200
    page.evaluate("xinc.state.set({ tab: 'place', view: 'network' })")
    page.wait_for_timeout(1000)
    page.locator("button:has-text('Switch these')").click()
    page.wait_for_timeout(1200)
    yield 1800
    page.evaluate("xinc.state.set({ view: 'lost' })")
    page.wait_for_timeout(800)
    yield 2000


def main(folder, out):
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        address = export({"nerv": xinc.load(folder)}, Path(place) / "page.html").as_uri()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.add_init_script("localStorage.setItem('xinc-toured', 'yes')")
        page.goto(address + "#t=0&layer=block2")
        page.wait_for_selector(".stage:not(.busy) figcaption span")
        shots, waits = [], []
        for wait in scenes(page):
            shots.append(
                Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize((SIZE[0] * 4 // 5, SIZE[1] * 4 // 5))
            )
            waits.append(wait)
        browser.close()
    shots[0].save(out, save_all=True, append_images=shots[1:], duration=waits, loop=0, quality=72, method=6)


if __name__ == "__main__":
    given = [*sys.argv[1:], *["xinc-demo/nerv", "docs/images/explore.webp"][len(sys.argv) - 1 :]]
    main(*given)
