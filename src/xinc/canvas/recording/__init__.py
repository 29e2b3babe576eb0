"""One forward pass written down: its operations, and the values that they read and made; and its replay."""
