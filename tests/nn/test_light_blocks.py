"""Blocks of light networks against their parts, put together by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.mobilenetv2 import InvertedResidual as MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidual as Reference
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.shufflenetv2 import InvertedResidual
from torchvision.ops.misc import SqueezeExcitation

from regard.errors import RegardError
from regard.nn.light_blocks import (
    ConvHardswish,
    ConvPool,
    GSBottleneck,
    GSConv,
    MobileNetV3Block,
    RepVGGBlock,
    ShuffleUnit,
    VoVGSCSP,
)
from regard.nn.light_blocks import (
    InvertedResidual as Inverted,
)


def image(*shape: int) -> Tensor:
    return torch.randn(*shape)


def trained(module: nn.Module) -> nn.Module:
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2 if tensor.ndim == 1 else -0.5, 0.9)
    return module.eval()


@pytest.mark.parametrize("stride", [1, 2])
def test_gsconv_alternates_both_halves(stride: int) -> None:
    layer, x = GSConv(3, 10, 3, stride).eval(), image(2, 3, 6, 14)
    first = layer.cv1(x)
    second, y = layer.cv2(first), layer(x)
    assert y.shape == (2, 10, 6 // stride, 14 // stride)
    for c in range(5):
        assert torch.equal(y[:, 2 * c], first[:, c])
        assert torch.equal(y[:, 2 * c + 1], second[:, c])


def test_vovgscsp_by_its_parts() -> None:
    layer, x = VoVGSCSP(6, 12, repeats=2).eval(), image(2, 6, 5, 7)
    y = layer.cv1(x)
    for block in layer.m:  # type: ignore[union-attr]
        assert isinstance(block, GSBottleneck)
        y = block.conv_lighting[1](block.conv_lighting[0](y)) + block.shortcut(y)
    assert torch.equal(layer(x), layer.cv3(torch.cat((y, layer.cv2(x)), 1)))


@pytest.mark.parametrize("stride", [1, 2])
def test_the_shuffle_unit_is_that_of_torchvision(stride: int) -> None:
    out = 10 if stride == 1 else 14
    ours, theirs, x = ShuffleUnit(10, out, stride), InvertedResidual(10, out, stride), image(2, 10, 6, 14)
    trained(ours)
    theirs.load_state_dict(ours.state_dict())
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    assert torch.allclose(ours(x), theirs.eval()(x), rtol=1e-3, atol=1e-5)


def test_units_that_do_not_fit() -> None:
    for wrong in ((10, 12, 1), (10, 13, 2), (10, 10, 3)):
        with pytest.raises(RegardError, match="ShuffleUnit"):
            ShuffleUnit(*wrong)


@pytest.mark.parametrize(
    ("hidden", "stride", "squeeze", "hardswish"), [(40, 1, 1, 1), (40, 2, 0, 1), (16, 1, 1, 0), (16, 1, 0, 0)]
)
def test_the_inverted_residual_is_that_of_torchvision(hidden: int, stride: int, squeeze: int, hardswish: int) -> None:
    ours, x = MobileNetV3Block(16, 16, hidden, 5, stride, squeeze, hardswish), image(2, 16, 6, 14)
    activation = "HS" if hardswish else "RE"
    config = InvertedResidualConfig(16, 5, hidden, 16, bool(squeeze), activation, stride, 1, 1.0)
    config.expanded_channels = hidden
    theirs = Reference(
        config,
        lambda channels: nn.BatchNorm2d(channels, eps=1e-3),
        lambda channels, _: SqueezeExcitation(channels, channels // 4, scale_activation=nn.Hardsigmoid),
    )
    trained(ours)
    state = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
    theirs.load_state_dict(state)
    assert torch.allclose(ours(x), theirs.eval()(x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("out", "stride", "expansion"), [(6, 1, 6), (6, 2, 4), (10, 1, 1)])
def test_the_block_of_mobilenet_v2_is_that_of_torchvision(out: int, stride: int, expansion: int) -> None:
    ours, theirs = Inverted(6, out, stride, expansion), MobileNetV2(6, out, stride, expansion)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    trained(ours)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = image(2, 6, 6, 14)
    assert torch.allclose(ours(x), theirs.eval()(x), rtol=1e-3, atol=1e-5)
    with pytest.raises(RegardError, match="stride 6"):
        Inverted(6, 6, 6, 2)


@pytest.mark.parametrize(("out", "stride", "identity"), [(6, 1, True), (6, 2, False), (10, 1, False)])
def test_repvgg_equals_the_one_convolution_of_its_figure(out: int, stride: int, identity: bool) -> None:
    block, x = RepVGGBlock(6, out, 3, stride).double(), image(2, 6, 8, 10).double()
    trained(block)
    kernel, bias = torch.zeros(out, 6, 3, 3, dtype=torch.float64), torch.zeros(out, dtype=torch.float64)
    assert (block.identity is not None) is identity
    unit = torch.eye(6, dtype=torch.float64)[:, :, None, None]
    branches = [(block.dense.conv.weight, block.dense.bn), (block.pointwise.conv.weight, block.pointwise.bn)]
    branches += [(unit, block.identity)] if block.identity is not None else []
    for weight, norm in branches:
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + 1e-3)
        kernel += functional.pad(weight, [(3 - weight.shape[-1]) // 2] * 4) * scale[:, None, None, None]
        bias += norm.bias - norm.running_mean * scale
    assert torch.allclose(block(x), functional.conv2d(x, kernel, bias, stride, 1).clamp(min=0))
    with pytest.raises(RegardError, match="kernel_size is 5"):
        RepVGGBlock(6, out, 5)


def test_stems() -> None:
    pool, x = ConvPool(3, 5), image(2, 3, 16, 20)
    trained(pool)
    y = functional.max_pool2d(pool.conv[1](pool.conv[0](x)).clamp(min=0), 3, 2, 1)
    assert torch.equal(pool(x), y)
    assert y.shape == (2, 5, 4, 5)
    stem = ConvHardswish(3, 5, 2)
    trained(stem)
    z = stem.bn(stem.conv(x))
    assert torch.allclose(stem(x), z * (z + 3).clamp(0, 6) / 6)
    assert stem(x).shape == (2, 5, 8, 10)
