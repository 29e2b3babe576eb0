"""Data sets with panoptic labels: one reader a layout, one catalogue of them all."""
