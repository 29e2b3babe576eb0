"""HNeRV's encoder: the ConvNeXt that makes a frame's embedding, in the naming of the HNeRV code.

Only what reading a checkpoint needs: the shapes come from the weights, and nothing is trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xinc.errors import CheckpointError


class ChannelNorm(nn.Module):
    """Layer normalisation over channels, of ``(B, C, h, w)`` or, with ``last``, of ``(B, h, w, C)``."""

    def __init__(self, channels: int, *, last: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        x = x if self.last else x.movedim(1, -1)
        x = nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, eps=1e-6)
        return x if self.last else x.movedim(-1, 1)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7×7 convolution, normalisation and a two-layer network at each position, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = ChannelNorm(channels, last=True)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        h = self.norm(self.dwconv(x).movedim(1, -1))
        y: Tensor = self.gamma * self.pwconv2(nn.functional.gelu(self.pwconv1(h)))
        return x + y.movedim(-1, 1)


class ConvNeXt(nn.Module):
    """Frames ``(B, 3, H, W)`` to embeddings ``(B, C, H / prod(strides), W / prod(strides))``."""

    def __init__(self, channels: list[int], strides: list[int], blocks: int) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList()
        self.stages = nn.ModuleList()
        for i, (inputs, outputs, stride) in enumerate(zip([3, *channels], channels, strides, strict=False)):
            conv = nn.Conv2d(inputs, outputs, stride, stride)
            norm = ChannelNorm(inputs if i else outputs, last=False)
            self.downsample_layers.append(nn.Sequential(norm, conv) if i else nn.Sequential(conv, norm))
            self.stages.append(nn.Sequential(*(ConvNeXtBlock(outputs) for _ in range(blocks))))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        return x


def encoder_from(weights: dict[str, Tensor]) -> ConvNeXt:
    """The encoder that a checkpoint's ``encoder.*`` weights describe.

    Args:
        weights: named without the leading ``encoder.``.

    Raises:
        CheckpointError: they are not those of HNeRV's ConvNeXt.
    """
    try:
        convolutions = [weights["downsample_layers.0.0.weight"]]
        while (name := f"downsample_layers.{len(convolutions)}.1.weight") in weights:
            convolutions.append(weights[name])
        blocks = len({name.split(".")[2] for name in weights if name.startswith("stages.0.")})
        encoder = ConvNeXt([w.shape[0] for w in convolutions], [w.shape[2] for w in convolutions], blocks)
        encoder.load_state_dict(weights)
    except (KeyError, IndexError, RuntimeError) as difference:
        reason = " ".join(str(difference).split())
        raise CheckpointError(
            f"the encoder is not HNeRV's ConvNeXt ({reason:.200}); save the frames' embeddings beside the decoder "
            "under the key 'embedding', shape (T, C, h, w)"
        ) from None
    return encoder.eval()
