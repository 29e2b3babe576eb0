"""What a notebook shows of a clip, a run, a canvas and a layer: a few facts and pictures, nothing that takes long."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch

from xinc.canvas.layer import Layer
from xinc.canvas.trace import Canvas
from xinc.models.families import title_of
from xinc.run import Run
from xinc.show.page.html import EmbeddedPicture, written
from xinc.show.subjects import signal_name
from xinc.signals.clip import Clip
from xinc.signals.frames import spread

FRAMES = 6
"""Frames of a clip that are shown."""
WIDTH = 240
"""Of a picture, in CSS pixels."""


def of_clip(clip: Clip) -> str:
    """Size, rate, annotations, and some frames."""
    facts = [("frames", written(len(clip))), ("size", f"{clip.size[0]} × {clip.size[1]}")]
    facts += [("rate", f"{clip.fps:g} frames a second")] if clip.fps else []
    if clip.segments is not None:
        facts.append(("annotated", f"{len(clip.segments.labels)} frames, {len(clip.segments.table)} segments"))
    pictures = [(clip.frame(t), f"frame {clip.names[t]}") for t in spread(len(clip), FRAMES)]
    return _card(signal_name(clip.source) if clip.source else "a clip", facts, pictures)


def of_run(run: Run) -> str:
    """The network's size and quality, and its first frame beside what it paints."""
    facts = [("signal", f"{len(run.clip)} × {run.clip.size[0]} × {run.clip.size[1]}")]
    facts += [("parameters", written(run.parameters)), ("bits a pixel, at 8 bits", f"{run.bits_per_pixel():.2f}")]
    facts.append(("PSNR of the first frame", f"{float(run.psnr([0])[0]):.2f} dB"))
    pictures = [(run.clip.frame(0), "the first frame"), (run.render(0), "as the network paints it")]
    return _card(f"{title_of(run.family)} of {signal_name(run.clip.source)}", facts, pictures)


def of_canvas(canvas: Canvas) -> str:
    """The layers with their neurons, and the picture."""
    facts = [("method", canvas.method), ("pixels", f"{canvas.size[0]} × {canvas.size[1]}")]
    facts += [(layer.name, f"{written(layer.neurons)} neurons") for layer in canvas.plan.layers]
    return _card("Canvas", facts, [(canvas.output, "what the network paints")])


def of_layer(layer: Layer) -> str:
    """The layer's neurons; ``layer.plot()`` draws its maps."""
    neurons, height, width = layer.shape
    facts = [("neurons", written(neurons)), ("pixels", f"{height} × {width}"), ("method", layer.method)]
    return _card(f"Layer {layer.name} ({layer.module})", [*facts, ("to draw it", "layer.plot()")], [])


def _card(title: str, facts: Sequence[tuple[str, str]], pictures: Sequence[tuple[torch.Tensor, str]]) -> str:
    left = 'style="text-align:left;padding-right:1em"'
    rows = "".join(f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(value)}</td></tr>" for name, value in facts)
    shown = "".join(_figure(image, caption) for image, caption in pictures)
    return (
        f'<div style="font-family:sans-serif"><strong>{escape(title)}</strong><table>{rows}</table>'
        f'<div style="display:flex;flex-wrap:wrap;gap:8px">{shown}</div></div>'
    )


def _figure(image: torch.Tensor, caption: str) -> str:
    values = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    values = values if values.shape[2] == 3 else values[..., :1].repeat(3, 2)
    picture = EmbeddedPicture.of("", values, caption)
    alt = escape(caption, quote=True)
    return (
        f'<figure style="margin:0"><img src="{picture.data}" alt="{alt}" style="width:{WIDTH}px">'
        f'<figcaption style="font-size:85%">{escape(caption)}</figcaption></figure>'
    )
