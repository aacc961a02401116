"""Every layer against a slow, obvious reference, with batch-norm statistics that are not those of a fresh layer."""

from __future__ import annotations

import math
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.nn.blocks import C3, SPP, SPPF, Bottleneck, BottleneckCSP
from regard.nn.conv import Concat, Conv, Focus
from regard.nn.ghost import C3Ghost, GhostBottleneck, GhostConv
from regard.nn.table import LAYERS
from regard.nn.transformer import C3TR, TransformerBlock

M = TypeVar("M", bound=nn.Module)


def trained(module: M) -> M:
    """Give every batch norm different statistics and weights, so that none can be left out unseen."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor in (m.running_mean, m.weight.data, m.bias.data):
                assert tensor is not None
                tensor.normal_()
            assert m.running_var is not None
            m.running_var.uniform_(0.5, 2)
    return module.double().eval()


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def norm(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    mean, var, weight, bias = (t[:, None, None] for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
    return (x - mean) / torch.sqrt(var + 1e-3) * weight + bias


def conv(m: Conv, x: Tensor, *, act: bool = True) -> Tensor:
    k = m.conv.kernel_size[0]
    y = functional.conv2d(x, m.conv.weight, None, m.conv.stride, k // 2, 1, m.conv.groups)
    y = norm(m.bn, y)
    return y / (1 + torch.exp(-y)) if act else y


def bottleneck(m: Bottleneck, x: Tensor, *, add: bool) -> Tensor:
    y = conv(m.cv2, conv(m.cv1, x))
    return x + y if add else y


def test_conv_by_loops() -> None:
    layer, x = trained(Conv(4, 6, 3, 2, groups=2)), image(1, 4, 5, 7)
    padded = functional.pad(x, (1, 1, 1, 1))
    y = torch.zeros(1, 6, 3, 4, dtype=torch.float64)
    for c in range(6):
        group = padded[:, 2 * (c // 3) : 2 * (c // 3) + 2]
        for i in range(3):
            for j in range(4):
                patch = group[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                y[0, c, i, j] = (patch * layer.conv.weight[c]).sum()
    y = norm(layer.bn, y)
    assert torch.allclose(layer(x), y * torch.sigmoid(y))
    assert layer.bn.eps == 1e-3
    assert layer.bn.momentum == 0.03
    assert layer.conv.bias is None


def test_conv_pads_half_the_kernel_by_default() -> None:
    x = torch.zeros(1, 3, 16, 16)
    assert Conv(3, 5, 6, 2, 2)(x).shape == (1, 5, 8, 8)
    assert Conv(3, None, 5)(x).shape == (1, 3, 16, 16)
    assert Conv(3, 5, 3, 1, 0)(x).shape == (1, 5, 14, 14)


@pytest.mark.parametrize(("shortcut", "channels"), [(True, 6), (False, 6), (True, 10)])
def test_bottleneck_adds_where_channels_allow(shortcut: bool, channels: int) -> None:
    layer, x = trained(Bottleneck(6, channels, shortcut)), image(2, 6, 5, 7)
    assert layer.cv1.out_channels == channels // 2
    assert torch.allclose(layer(x), bottleneck(layer, x, add=shortcut and channels == 6))


@pytest.mark.parametrize("shortcut", [True, False])
def test_c3(shortcut: bool) -> None:
    layer, x = trained(C3(6, 10, shortcut, repeats=2)), image(2, 6, 5, 7)
    y = conv(layer.cv1, x)
    for m in layer.m:
        assert m.cv1.out_channels == 5
        y = bottleneck(m, y, add=shortcut)
    assert torch.allclose(layer(x), conv(layer.cv3, torch.cat((y, conv(layer.cv2, x)), 1)))


@pytest.mark.parametrize("shortcut", [True, False])
def test_bottleneck_csp(shortcut: bool) -> None:
    layer, x = trained(BottleneckCSP(6, 10, shortcut, repeats=2)), image(2, 6, 5, 7)
    y = conv(layer.cv1, x)
    for m in layer.m:
        y = bottleneck(m, y, add=shortcut)
    first = torch.einsum("bchw,oc->bohw", y, layer.cv3.weight[:, :, 0, 0])
    second = torch.einsum("bchw,oc->bohw", x, layer.cv2.weight[:, :, 0, 0])
    joined = norm(layer.bn, torch.cat((first, second), 1))
    assert torch.allclose(layer(x), conv(layer.cv4, joined * torch.sigmoid(joined)))


def test_sppf_equals_spp_of_5_9_13() -> None:
    fast, slow = trained(SPPF(6, 10, 5)), trained(SPP(6, 10, (5, 9, 13)))
    slow.load_state_dict(fast.state_dict())
    x = image(2, 6, 17, 19)
    assert torch.equal(fast(x), slow(x))
    y = conv(slow.cv1, x)
    padded = functional.pad(y, (6, 6, 6, 6), value=-math.inf)
    for k in (5, 9, 13):  # the pixel (4, 3) by hand
        window = padded[:, :, 10 - k // 2 : 10 + k // 2 + 1, 9 - k // 2 : 9 + k // 2 + 1].amax((2, 3))
        assert torch.equal(nn.MaxPool2d(k, 1, k // 2)(y)[:, :, 4, 3], window)
    assert not torch.equal(trained(SPP(6, 10, (3, 7)))(x), fast(x))


def test_focus_phases_in_their_order() -> None:
    layer, x = trained(Focus(2, 5, 3)), image(1, 2, 6, 10)
    y = torch.zeros(1, 8, 3, 5, dtype=torch.float64)
    for phase, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        for c in range(2):
            for i in range(3):
                for j in range(5):
                    y[0, 2 * phase + c, i, j] = x[0, c, 2 * i + row, 2 * j + column]
    assert torch.allclose(layer(x), conv(layer.conv, y))


def ghost(m: GhostConv, x: Tensor, *, act: bool = True) -> Tensor:
    y = conv(m.cv1, x, act=act)
    cheap = torch.stack([functional.conv2d(y[:, c : c + 1], m.cv2.conv.weight[c : c + 1], None, 1, 2)[:, 0]
                         for c in range(y.shape[1])], 1)  # fmt: skip
    cheap = norm(m.cv2.bn, cheap)
    return torch.cat((y, cheap * torch.sigmoid(cheap) if act else cheap), 1)


def test_ghost_convolution_and_bottleneck() -> None:
    x = image(2, 8, 5, 7)
    layer = trained(GhostConv(8, 10, 3, 2))
    assert torch.allclose(layer(x), ghost(layer, x))
    kept = trained(GhostBottleneck(8, 8))
    assert torch.allclose(kept(x), ghost(kept.conv[2], ghost(kept.conv[0], x), act=False) + x)
    halved = trained(GhostBottleneck(8, 12, 3, 2))
    main = ghost(halved.conv[2], conv(halved.conv[1], ghost(halved.conv[0], x), act=False), act=False)
    side = conv(halved.shortcut[1], conv(halved.shortcut[0], x, act=False), act=False)
    assert torch.allclose(halved(x), main + side)


def test_c3_ghost_is_c3_over_ghost_bottlenecks() -> None:
    layer, x = trained(C3Ghost(6, 16, repeats=2)), image(1, 6, 5, 7)
    y = conv(layer.cv1, x)
    for m in layer.m:
        y = ghost(m.conv[2], ghost(m.conv[0], y), act=False) + y
    assert torch.allclose(layer(x), conv(layer.cv3, torch.cat((y, conv(layer.cv2, x)), 1)))


def test_transformer_by_a_written_out_softmax() -> None:
    channels, heads = 12, 4
    block, x = TransformerBlock(channels, layers=2).double(), image(2, channels, 3, 5)
    for m in block.modules():
        if isinstance(m, nn.MultiheadAttention):
            nn.init.normal_(m.in_proj_bias)
    expected = torch.empty_like(x)
    for b in range(2):
        p = x[b].reshape(channels, 15).T  # (tokens, channels), rows before columns
        p = p + p @ block.linear.weight.T + block.linear.bias
        for layer in block.tr:
            weights, biases = layer.ma.in_proj_weight.chunk(3), layer.ma.in_proj_bias.chunk(3)
            projections = zip((layer.q, layer.k, layer.v), weights, biases, strict=True)
            q, k, v = (p @ linear.weight.T @ weight.T + bias for linear, weight, bias in projections)
            joined = torch.zeros(15, channels, dtype=torch.float64)
            for h in range(heads):
                part = slice(3 * h, 3 * h + 3)
                for token in range(15):
                    scores = torch.stack([q[token, part] @ k[other, part] / math.sqrt(3) for other in range(15)])
                    share = scores.exp() / scores.exp().sum()
                    joined[token, part] = share @ v[:, part]
            p = joined @ layer.ma.out_proj.weight.T + layer.ma.out_proj.bias + p
            p = p @ layer.fc1.weight.T @ layer.fc2.weight.T + p
        expected[b] = p.T.reshape(channels, 3, 5)
    assert torch.allclose(block(x), expected)


def test_c3tr_is_c3_over_a_transformer() -> None:
    layer, x = trained(C3TR(6, 16, repeats=2)), image(2, 6, 3, 5)
    joined = torch.cat((layer.m(conv(layer.cv1, x)), conv(layer.cv2, x)), 1)
    assert torch.allclose(layer(x), conv(layer.cv3, joined))
    keys = {key for key in layer.state_dict() if key.startswith("m.tr.1")}
    assert keys == {f"m.tr.1.{k}" for k in (
        "q.weight", "k.weight", "v.weight", "ma.in_proj_weight", "ma.in_proj_bias", "ma.out_proj.weight",
        "ma.out_proj.bias", "fc1.weight", "fc2.weight")}  # fmt: skip


def test_concat() -> None:
    a, b = image(2, 3, 5, 7), image(2, 4, 5, 7)
    assert torch.equal(Concat([3, 4])([a, b]), torch.cat((a, b), 1))
    assert Concat([3, 4]).out_channels == 7


NEEDED: dict[str, dict[str, object]] = {
    "A2C2f": {"out_channels": 64},
    "CBLinear": {"parts": (8, 24)},
    "ELAN1": {"out_channels": 24, "split_channels": 16, "stage_channels": 8},
    "RepNCSPELAN4": {"out_channels": 24, "split_channels": 16, "stage_channels": 8},
    "SPPELAN": {"out_channels": 24, "hidden_channels": 8},
}
"""Options without which a layer does not build, or not from 16 channels."""


SINGLE = [n for n, layer in LAYERS.items() if not getattr(layer, "multi_input", False) and n != "TimmStage"]
"""Layers that read one map, apart from those that need another package."""


def built(name: str) -> nn.Module:
    return LAYERS[name](16, **NEEDED.get(name, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SINGLE)
def test_every_layer_builds_from_its_channels_and_says_what_it_gives(name: str) -> None:
    layer = built(name).eval()
    for shape in ((2, 16, 8, 10), (0, 16, 8, 10)):
        y = layer(torch.rand(shape))
        assert y.shape[:2] == (shape[0], layer.out_channels)


@pytest.mark.parametrize("name", SINGLE)
def test_no_layer_mixes_images_or_changes_its_input(name: str) -> None:
    layer = trained(built(name))
    whole = image(3, 16, 8, 10)
    strided = torch.empty(3, 16, 8, 20, dtype=torch.float64)[..., ::2].copy_(whole)
    before, expected = whole.clone(), layer(whole)
    for x in (whole, whole.contiguous(memory_format=torch.channels_last), strided):
        assert torch.allclose(layer(x), expected)
        assert torch.equal(x, before)
    assert torch.allclose(layer(whole[1:2]), expected[1:2])
