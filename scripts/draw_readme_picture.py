"""Draw the picture of the README from the demonstration's NeRV.

python scripts/draw_readme_picture.py [xinc-demo/nerv] [docs/images/canvas.png]
"""

import sys
from pathlib import Path

import numpy as np

import xinc
from xinc.findings.section4.choose import choose
from xinc.show import style
from xinc.show.figures.maps import HEATMAP, MAP, neuron_name
from xinc.show.figures.sheet import Strip, Tile, sheet, spoken, stretched

LAYER, FRAME, COUNT = "block3", 5, 6


def coloured(term: np.ndarray) -> np.ndarray:
    """A signed contribution ``(3, H, W)`` as a picture: grey where there is none, brighter or darker in its colour."""
    return np.clip(0.5 + 0.5 * term / np.quantile(np.abs(term), 0.998), 0, 1).transpose(1, 2, 0)


@style.styled
def picture(folder: str):
    """The frame and its heatmaps, and some neurons by the paper's method and by ours."""
    run = xinc.load(folder)
    paper, exact = (xinc.trace(run.model, run.input(FRAME), method=method) for method in ("paper", "exact"))
    layer = exact[LAYER]
    neurons = choose(layer, "different", COUNT)
    names = [neuron_name(row) for row in layer.neurons.iloc[neurons][["input", "output"]].to_dict("records")]
    heat = [Tile(stretched(exact[name].heatmap().numpy()), spoken(name), HEATMAP) for name in reversed(exact.layers)]
    maps = paper[LAYER].maps(neurons).abs().numpy()
    terms = layer.maps(neurons, signed=True).numpy()
    frame = run.clip.frame(FRAME).permute(1, 2, 0).numpy()
    drawn = run.render(FRAME).permute(1, 2, 0).numpy()
    return sheet(
        [
            Strip([Tile(frame, "frame"), Tile(drawn, "the NeRV’s picture"), *heat[:4]], "all neurons"),
            Strip([Tile(stretched(m), n, MAP) for m, n in zip(maps, names, strict=True)], f"{spoken(LAYER)}\npaper"),
            Strip([Tile(coloured(t)) for t in terms], f"{spoken(LAYER)}\nexact,\nsigned"),
        ]
    )


if __name__ == "__main__":
    given = [*sys.argv[1:], *["xinc-demo/nerv", "docs/images/canvas.png"][len(sys.argv) - 1 :]]
    Path(given[1]).parent.mkdir(parents=True, exist_ok=True)
    picture(given[0]).savefig(given[1], dpi=150)
    print(given[1])
