"""The canvas: which neuron paints which pixel."""
