"""Fitting: a network to frames, from nothing or from weights that are there."""
