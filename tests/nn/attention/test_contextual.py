from __future__ import annotations

import pytest
import torch
from slow import batch_norm, convolve
from torch import nn

from regard.errors import RegardError
from regard.nn.attention.contextual import ContextualTransformer


def test_by_loops() -> None:
    module, x = ContextualTransformer(6, 2).double().eval(), torch.randn(2, 6, 4, 5, dtype=torch.float64)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2 if tensor.ndim == 1 else -0.7, 0.9)
    conv = module.keys[0]
    assert isinstance(conv, nn.Conv2d)
    halves = []
    for group in range(conv.groups):  # two groups of three channels
        alone = nn.Conv2d(3, 3, 3, padding=1, bias=False).double()
        alone.weight.data = conv.weight.data[3 * group : 3 * group + 3]
        halves.append(convolve(x[:, 3 * group : 3 * group + 3], alone))
    static = batch_norm(torch.cat(halves, 1), module.keys[1]).clamp(min=0)
    v = batch_norm(convolve(x, module.values[0]), module.values[1])  # type: ignore[arg-type]
    squeezed = batch_norm(convolve(torch.cat((static, x), 1), module.weigh[0]), module.weigh[1]).clamp(min=0)  # type: ignore[arg-type]
    weights = convolve(squeezed, module.weigh[3]).view(2, 2, 3, 3, 4, 5)  # type: ignore[arg-type]
    mixed = torch.zeros_like(x)
    for i in range(4):
        for j in range(5):
            found = module.attention(x, (i, j)).weights[:, :, 0]
            expected = torch.zeros_like(found)
            for a in range(3):
                for b in range(3):
                    at = (i + a - 1, j + b - 1)
                    if 0 <= at[0] < 4 and 0 <= at[1] < 5:
                        share = weights[:, :, a, b, i, j]
                        expected[:, :, at[0], at[1]] = share
                        mixed[:, :, i, j] += share.repeat_interleave(3, 1) * v[:, :, at[0], at[1]]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    dynamic = batch_norm(mixed, module.norm[0])
    dynamic = dynamic / (1 + torch.exp(-dynamic))
    scores = module.join((static + dynamic).mean((2, 3))).view(2, 2, 6).exp()
    shares = (scores / scores.sum(1, keepdim=True))[..., None, None]
    torch.testing.assert_close(module(x), shares[:, 0] * static + shares[:, 1] * dynamic, rtol=0, atol=1e-10)


def test_options() -> None:
    with pytest.raises(RegardError, match="num_heads 4 does not divide 6"):
        ContextualTransformer(6)
    with pytest.raises(RegardError, match="kernel 2"):
        ContextualTransformer(8, 4, 2)
