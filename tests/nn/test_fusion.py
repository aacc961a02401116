"""Weighted fusion against its definition, number by number."""

from __future__ import annotations

import pytest
import torch

from regard.errors import RegardError
from regard.nn.fusion import BiFPN

MAPS = [torch.rand(2, 3, 5, 7, dtype=torch.float64) for _ in range(3)]
W = (0.5, -2.0, 1.5)


def fused(mode: str, *, convolve: bool = False) -> BiFPN:
    layer = BiFPN([3, 3, 3], mode, convolve).double()  # type: ignore[arg-type]
    layer.w.data = torch.tensor(W, dtype=torch.float64)
    return layer


def test_weights_are_not_negative_and_normalised() -> None:
    share = [max(w, 0) / (2.0 + 1e-4) for w in W]
    parts = [x * s for x, s in zip(MAPS, share, strict=True)]
    assert torch.allclose(fused("sum")(MAPS), parts[0] + parts[1] + parts[2])
    assert torch.allclose(fused("concat")(MAPS), torch.cat(parts, 1))
    assert fused("concat").out_channels == 9


def test_the_convolution_is_behind_the_swish() -> None:
    layer = fused("sum", convolve=True)
    x = fused("sum")(MAPS)
    assert layer.conv is not None
    y = torch.einsum("oc,bchw->bohw", layer.conv.weight[:, :, 0, 0], x * x.sigmoid()) + layer.conv.bias[:, None, None]
    assert torch.allclose(layer(MAPS), y)


def test_channels_that_cannot_be_summed() -> None:
    assert BiFPN([3, 5], "concat").out_channels == 8
    with pytest.raises(RegardError, match="a sum of 3, 5 channels"):
        BiFPN([3, 5])
    with pytest.raises(RegardError, match="'sum' or 'concat'"):
        BiFPN([3, 3], "mean")  # type: ignore[arg-type]
