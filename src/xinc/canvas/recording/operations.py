"""Torch functions by what they do, as the recorder names them: ``"conv2d"``, ``"__add__"``, ``"relu_"``."""

from __future__ import annotations


def _names(text: str, *, in_place: bool = False) -> frozenset[str]:
    plain = text.split()
    return frozenset((*plain, *(f"{name}_" for name in plain if in_place)))


ADDITIONS = _names("add add_ __add__ __radd__ __iadd__")
SUBTRACTIONS = _names("sub sub_ subtract subtract_ rsub __sub__ __rsub__ __isub__")
PRODUCTS = _names("mul mul_ multiply multiply_ __mul__ __rmul__ __imul__")
QUOTIENTS = _names(
    "div div_ divide divide_ true_divide __truediv__ __rtruediv__ __itruediv__ __rdiv__ __div__ __idiv__"
)
ARITHMETIC = ADDITIONS | SUBTRACTIONS | PRODUCTS | QUOTIENTS

FUNCTIONS = _names(
    "relu relu6 gelu silu mish tanh sigmoid softplus elu celu selu leaky_relu hardtanh hardswish hardsigmoid sin cos "
    "logsigmoid softsign tanhshrink hardshrink softshrink threshold exp abs square sqrt neg clamp clip clamp_min "
    "clamp_max pow reciprocal erf sinc positive",
    in_place=True,
) | _names("__neg__ __pow__ __rpow__ __abs__ __pos__ __ipow__")
"""Elementwise functions of one tensor, and perhaps of numbers."""

UNCHANGED = _names(
    "contiguous clone detach data alias float double to type_as dropout alpha_dropout feature_dropout "
    "feature_alpha_dropout dropout1d dropout2d dropout3d"
)
"""What hands its operand through (dropout in eval mode)."""

ELEMENTWISE = ARITHMETIC | FUNCTIONS | UNCHANGED

INDEXING = UNCHANGED - _names("float double to type_as") | _names(
    "view reshape permute transpose flatten unflatten squeeze unsqueeze pixel_shuffle movedim moveaxis T mT swapaxes "
    "swapdims view_as reshape_as ravel __getitem__ unbind split chunk narrow select slice channel_shuffle flip flipud "
    "fliplr roll rot90"
)
"""What puts values elsewhere, or leaves some out."""

SHAPE_ONLY = _names(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty new_full "
    "new_tensor size dim"
)
"""What reads no numbers of its operands: what it makes does not depend on them."""

LEAVES_TORCH = _names("item tolist numpy __array__ __bool__ __float__ __int__ __index__ __complex__")
NOT_COMPUTED = _names("requires_grad_ grad _grad grad_fn retain_grad")
OVERWRITING = frozenset(
    f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "pow", "mod", "and", "or", "xor")
) | {"__setitem__"}

COMPARISONS = _names("gt lt ge le eq ne __gt__ __lt__ __ge__ __le__ __eq__ __ne__ logical_not")
CHOICES = _names("where maximum minimum prelu hypot atan2 lerp addcmul real imag")
"""Elementwise functions of several tensors."""

COPYING = _names(
    "expand expand_as broadcast_to repeat repeat_interleave tile pixel_unshuffle index_select gather pad unfold fold "
    "upsample_nearest diagonal tril triu"
)
"""What puts copies of values elsewhere, and zeros between them."""

NORMS = _names("batch_norm instance_norm layer_norm group_norm rms_norm")
RESAMPLING = _names("interpolate upsample upsample_bilinear upsample_nearest2d upsample_bilinear2d upsample_bicubic2d")
POOLING = _names("avg_pool2d adaptive_avg_pool2d")
JOINING = _names("cat concat concatenate stack hstack vstack dstack")
WRITING = _names("__setitem__ copy_ overwritten")
MIXING = _names("matmul __matmul__ __rmatmul__ bmm mm baddbmm addmm einsum")
LINEAR = MIXING | _names("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")
"""What multiplies values with weights, read as a layer or not."""
RANDOM = _names(
    "rand randn randint randperm normal bernoulli multinomial poisson rand_like randn_like randint_like uniform random "
    "exponential geometric cauchy log_normal rrelu gumbel_softmax",
    in_place=True,
)
"""What draws numbers."""
WEIGHTINGS = _names("softmax softmin log_softmax gumbel_softmax argmax argmin")
"""What makes weights of which the paper's method keeps the recorded ones."""
KEEPING = _names("grid_sample grid_sampler")
"""What moves its first operand by others, of which the paper's method keeps the recorded ones."""

NOT_READ = _names(
    "conv1d conv3d conv_transpose1d conv_transpose3d bilinear multi_head_attention_forward gru lstm rnn_tanh rnn_relu "
    "lstm_cell gru_cell"
)
"""What holds weights but is not read as a layer (of ``conv1d`` only kernels of size 1 are)."""
