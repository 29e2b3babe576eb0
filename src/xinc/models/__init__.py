"""The networks: Fourier features, SIREN, NeRV and HNeRV; how they are made, fitted and read from anyone's files."""

from xinc.models.base import INR, Config, bits_per_pixel, count_parameters
from xinc.models.families import FAMILIES, Family, build, configure, family
from xinc.models.recipe import Recipe

__all__ = [
    "FAMILIES",
    "INR",
    "Config",
    "Family",
    "Recipe",
    "bits_per_pixel",
    "build",
    "configure",
    "count_parameters",
    "family",
]
