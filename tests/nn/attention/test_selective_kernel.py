"""Selective kernels against timm's."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close

from regard.errors import RegardError
from regard.nn.attention.selective_kernel import SelectiveKernel


@pytest.mark.parametrize(("branches", "groups"), [(2, 1), (3, 4)])
def test_equals_timm(branches: int, groups: int) -> None:
    timm = pytest.importorskip("timm.layers")
    module, x = build("SelectiveKernel", branches=branches, groups=groups), some(size=(9, 7))
    assert isinstance(module, SelectiveKernel)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.3 if tensor.ndim == 1 else -0.7, 0.9)
    kernels = [2 * m + 3 for m in range(branches)]
    other = timm.SelectiveKernel(16, kernel_size=kernels, groups=groups, rd_channels=module.hidden, split_input=False)
    other, tensors = other.double().eval(), list(other.state_dict())
    other.load_state_dict(dict(zip(tensors, module.state_dict().values(), strict=True)))
    close(module(x), other(x))
    weights = other.attn(torch.stack([path(x) for path in other.paths], 1))[..., 0, 0]
    fields = torch.tensor(kernels, dtype=torch.float64) / kernels[-1]
    close(module.attention(x).weights, torch.einsum("bmc,m->bc", weights, fields))


def test_one_image_trains() -> None:
    module = SelectiveKernel(8).train()
    before = module.reduce[1].running_mean.clone()
    module(torch.randn(1, 8, 5, 3)).sum().backward()
    assert torch.equal(module.reduce[1].running_mean, before)
    assert module.paths[0][1].running_mean.any()


def test_options() -> None:
    assert [SelectiveKernel(c).groups for c in (8, 30, 64)] == [8, 2, 32]
    assert SelectiveKernel(1024).hidden == 64
    for options, match in (
        ({"branches": 0}, "branches 0"),
        ({"reduction": 0}, "reduction 0"),
        ({"groups": 3}, "3 does"),
    ):
        with pytest.raises(RegardError, match=match):
            SelectiveKernel(8, **options)
