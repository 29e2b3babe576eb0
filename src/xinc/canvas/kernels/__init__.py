"""The inner loops: one neuron's map after the other, folded into every reduction while it is in cache.

Compiled by Numba. Everything that is decided once a layer (windows, taps, where a plane is placed) is decided in
:mod:`xinc.canvas.paper.box_filters`; here are only loops.

A band of the picture is kept *packed* (:class:`xinc.canvas.reductions.fold.Packing`): one plane for each phase of the
last up-sampling, so that a phase is the coarse plane filtered with fixed taps, row behind row with the few zeros of its
padding in between. A phase is then one loop over contiguous memory; what it writes into the padding is zeroed again.
"""

import xinc.canvas.kernels.cache  # noqa: F401  (before any loop)
from xinc.canvas.kernels.activate import CODES, activate
from xinc.canvas.kernels.convolution import stream_convolution, stream_convolution_pair
from xinc.canvas.kernels.folds import FINE_BITS, NOTHING, Fold, close_call, close_neuron, fold_chunk
from xinc.canvas.kernels.grids import BLOCK, Chain
from xinc.canvas.kernels.linear import stream_linear, stream_linear_pair
from xinc.canvas.kernels.options import OPTIONS
from xinc.canvas.kernels.sums import GROUP, LINES

__all__ = [
    "BLOCK", "CODES", "FINE_BITS", "GROUP", "LINES", "NOTHING", "OPTIONS", "Chain", "Fold", "activate", "close_call",
    "close_neuron", "fold_chunk", "stream_convolution", "stream_convolution_pair", "stream_linear",
    "stream_linear_pair",
]  # fmt: skip
