from __future__ import annotations

import pytest
import torch
from slow import batch_norm, convolve
from torch import nn

from regard.errors import RegardError
from regard.nn.attention.gather_excite import GatherExcite


@pytest.mark.parametrize("extent", [0, 2, 4])
@pytest.mark.parametrize("size", [(13, 17), (5, 3)])
def test_means_equal_timm(extent: int, size: tuple[int, int]) -> None:
    """Without an MLP and convolutions, which timm 1.0.31 cannot build."""
    theirs = pytest.importorskip("timm.layers").GatherExcite(8, extent=extent, use_mlp=False)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(GatherExcite(8, extent, learned=False)(x), theirs(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("extent", [2, 8])
@pytest.mark.parametrize("size", [(13, 17), (5, 3)])
def test_learned_by_loops(extent: int, size: tuple[int, int]) -> None:
    module, x = GatherExcite(4, extent, reduction=2).double().eval(), torch.randn(2, 4, *size, dtype=torch.float64)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1 if tensor.ndim == 1 else -0.9, 0.9)
    y = x
    for layer in (*module.gathering, *module.excitation):
        if isinstance(layer, nn.Conv2d):
            y = (
                torch.stack([convolve(y[:, c : c + 1], one_channel(layer, c))[:, 0] for c in range(4)], 1)[
                    :, :, ::2, ::2
                ]
                if layer.groups > 1
                else convolve(y, layer)
            )
        elif isinstance(layer, nn.BatchNorm2d):
            y = batch_norm(y, layer)
        else:
            y = y.clamp(min=0)
    height, width = y.shape[2:]
    for i in range(size[0]):
        for j in range(size[1]):
            gathered = y[:, :, i * height // size[0], j * width // size[1]]
            expected = x[:, :, i, j] / (1 + torch.exp(-gathered))
            torch.testing.assert_close(module(x)[:, :, i, j], expected, rtol=0, atol=1e-12)


def one_channel(conv: nn.Conv2d, channel: int) -> nn.Conv2d:
    alone = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    alone.weight.data = conv.weight.data[channel : channel + 1]
    return alone


def test_a_neighbourhood_by_hand() -> None:
    """Extent 2: the mean of the 3 x 3 positions around every other one, without those outside of the map."""
    x = torch.arange(20.0).view(1, 1, 4, 5)
    gathered = GatherExcite(1, 2, learned=False).gather(x)
    assert gathered.shape == (1, 1, 2, 3)
    assert gathered[0, 0, 0, 0] == (0 + 1 + 5 + 6) / 4
    assert gathered[0, 0, 1, 1] == x[0, 0, 1:4, 1:4].mean()


def test_parameters_of_each_form() -> None:
    assert not list(GatherExcite(8, 4, learned=False).parameters())
    assert len([m for m in GatherExcite(8, 8).modules() if isinstance(m, nn.Conv2d)]) == 3


def test_options() -> None:
    for extent, near in ((3, 2), (1, 2), (-4, 4), (12, 8)):
        with pytest.raises(RegardError, match=f"extent {extent}[^0-9][\\s\\S]*nearest is {near}"):
            GatherExcite(8, extent)
    with pytest.raises(RegardError, match="learned: false"):
        GatherExcite(8, 0)
