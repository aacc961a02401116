"""The large selective kernel by its definition."""

from __future__ import annotations

import torch
from catalogue import build, some
from masked import close
from torch.nn import functional as F

from regard.nn.attention.lsk import LSK


def test_by_definition() -> None:
    module, x = build("LSK", 6), some(6, (11, 7))
    assert isinstance(module, LSK)
    p = module.state_dict()
    dense = torch.zeros(6, 6, 19, 19, dtype=torch.float64)  # 7 x 7 values 3 apart
    for channel in range(6):
        dense[channel, channel, ::3, ::3] = p["far.weight"][channel, 0]
    near = F.conv2d(x, p["near.weight"], p["near.bias"], padding=2, groups=6)
    far = F.conv2d(near, dense, p["far.bias"], padding=9)
    fields = [
        torch.einsum("oc,bchw->bohw", p[f"of_{key}.weight"][..., 0, 0], t) + p[f"of_{key}.bias"][:, None, None]
        for key, t in (("near", near), ("far", far))
    ]
    pooled = torch.stack((sum(f.sum(1) for f in fields) / 6, torch.cat(fields, 1).max(1).values), 1)
    shares = 1 / (1 + torch.exp(-F.conv2d(pooled, p["choose.weight"], p["choose.bias"], padding=3)))
    mixed = fields[0] * shares[:, :1] + fields[1] * shares[:, 1:]
    weights = torch.einsum("co,bohw->bchw", p["out.weight"][..., 0, 0], mixed) + p["out.bias"][:, None, None]
    close(module(x), x * weights)
    close(module.attention(x).weights, weights)


def test_a_value_is_weighed_by_those_up_to_14_positions_away() -> None:
    """5 x 5 and then 7 x 7 three apart reach 2 + 9 positions, the choice between them 3 more."""
    module, x = build("LSK", 2), some(2, (1, 41), batch=1).requires_grad_()
    module.weights(x)[0, :, 0, 20].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((0, 1, 2)).nonzero()[:, 0]
    assert (seen.min(), seen.max()) == (20 - 14, 20 + 14)
