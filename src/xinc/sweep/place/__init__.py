"""Where a sweep keeps its runs: a folder, or an address that fsspec knows; locks, damage, and signals at addresses."""
