"""Statistics of a layer's maps that never hold the maps."""
