"""Recipes that measurements name besides the families' own."""

from xinc.models.recipe import Recipe

STEEP = Recipe(epochs=60, learning_rate=5e-3, batch=1, schedule="cosine", betas=(0.9, 0.95))
"""A NeRV's quickest way to a high PSNR, and to large terms: five times the paper's learning rate."""
