"""What every module of the catalogue keeps: sizes, channels, layouts, and one image at a time."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from catalogue import build, every_module, some

from regard.errors import RegardError
from regard.nn.attention import ATTENTION, Attention

SIZES = [(1, 1), (1, 7), (13, 9), (8, 8), (23, 2)]
CHANNELS = [1, 3, 8, 15, 30]
FIXED = {"ConvolutionAsAttention", "RandomSynthesizer"}
"""Modules whose weights are learned and the same for every image."""


@every_module
def test_builds_from_channels_alone_and_all_else_has_a_name_and_a_default(name: str) -> None:
    assert issubclass(ATTENTION[name], Attention)
    first, *others = inspect.signature(ATTENTION[name]).parameters.values()
    assert first.name == "in_channels"
    assert all(p.default is not p.empty and p.kind == p.POSITIONAL_OR_KEYWORD for p in others)
    module = ATTENTION[name](16)
    assert module.in_channels == 16
    assert module(some().float()).shape[1] == module.out_channels


@every_module
@pytest.mark.parametrize("size", SIZES)
def test_any_size(name: str, size: tuple[int, int]) -> None:
    module, x = build(name), some(size=size)
    y = module(x)
    assert y.shape == (3, module.out_channels, *size)
    assert y.isfinite().all()


@every_module
def test_an_empty_batch(name: str) -> None:
    module = build(name)
    assert module(some(batch=0)).shape == (0, module.out_channels, 5, 7)


@every_module
@pytest.mark.parametrize("size", [(5, 7), (13, 9), (14, 14)])
def test_images_of_a_batch_are_independent(name: str, size: tuple[int, int]) -> None:
    module, x = build(name), some(size=size)
    y = module(x)
    for i in range(3):
        torch.testing.assert_close(module(x[i : i + 1]), y[i : i + 1], rtol=0, atol=1e-12)
    assert (y[0] - y[1]).abs().max() > 1e-6


@every_module
@pytest.mark.parametrize("channels", CHANNELS)
def test_any_channels_or_a_clear_error(name: str, channels: int) -> None:
    rejection = None
    try:
        module = build(name, channels)
    except RegardError as error:
        rejection = error
    if rejection:
        assert str(channels) in rejection.what
        assert re.search(r"\d", f"{rejection.expected} {rejection.hint}"), "names no choice that is valid"
        return
    x = some(channels)
    y = module(x)
    assert y.shape == (3, module.out_channels, 5, 7)
    assert y.isfinite().all()


@every_module
@pytest.mark.parametrize("channels", [1, 3, 8, 15, 16, 30])
def test_no_gate_is_constant(name: str, channels: int) -> None:
    """Weights differ from image to image, for any number of channels, unless they are fixed by nature."""
    try:
        module = build(name, channels)
    except RegardError:
        return
    x = some(channels, batch=6)
    assert (module(x) - module(x.roll(1, 0))).abs().amax((1, 2, 3)).min() > 1e-6
    if name in FIXED:
        return
    weights = module.attention(x).weights
    assert (weights - weights[:1]).abs().max() > 1e-4


@every_module
def test_layouts_agree(name: str) -> None:
    module, x = build(name), some(size=(9, 7))
    wide = some(19, (18, 25))
    strided = wide[:, 2:18, 1::2, 3:24:3]
    with torch.no_grad():
        strided.copy_(x)
    assert not strided.is_contiguous()
    expected = module(x)
    for other in (x.to(memory_format=torch.channels_last), strided, x.mT.contiguous().mT, x[:1].expand(3, -1, -1, -1)):
        wanted = expected if other.stride(0) else expected[:1].expand(3, -1, -1, -1)
        torch.testing.assert_close(module(other), wanted, rtol=0, atol=1e-12)


@every_module
@pytest.mark.parametrize("training", [False, True])
def test_inputs_are_not_modified(name: str, training: bool) -> None:
    module, x = build(name).train(training), some()
    given, before = x.clone().requires_grad_(), x.clone()
    module(given).sum().backward()
    module.attention(x)
    assert torch.equal(given.detach(), before)
    assert torch.equal(x, before)


@every_module
def test_every_parameter_learns(name: str) -> None:
    module = build(name).train()
    module(some(size=(9, 11)).requires_grad_()).square().sum().backward()
    lazy = [key for key, p in module.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not lazy


@every_module
def test_weights_are_read_back(name: str) -> None:
    module, x = build(name), some()
    other = ATTENTION[name](16).double().eval()
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)
