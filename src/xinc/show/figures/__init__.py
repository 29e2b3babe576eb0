"""One function a figure of the paper; each takes labelled data and returns a matplotlib Figure."""

from xinc.show.figures.curves import (
    groupings,
    pixels_per_neuron,
    psnr_by_frame,
    sorted_contributions,
    training,
)
from xinc.show.figures.maps import gallery, intensity, neurons_per_pixel
from xinc.show.figures.motion import motion
from xinc.show.figures.neurons import instances, instances_over_time, umap, umap_layers
from xinc.show.figures.sheet import Panels
from xinc.show.figures.together import energy_held, principal

__all__ = [
    "Panels",
    "energy_held",
    "gallery",
    "groupings",
    "instances",
    "instances_over_time",
    "intensity",
    "motion",
    "neurons_per_pixel",
    "pixels_per_neuron",
    "principal",
    "psnr_by_frame",
    "sorted_contributions",
    "training",
    "umap",
    "umap_layers",
]
