"""Weights from files, ours and other people's: read as data, recognised, made into a network of this package."""
