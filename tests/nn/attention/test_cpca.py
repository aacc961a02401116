"""Channel prior convolutional attention by its definition, with dense kernels."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.cpca import CPCA


def test_by_definition() -> None:
    module, x = build("CPCA", 6, reduction=2), some(6, (9, 7))
    assert isinstance(module, CPCA)
    p = module.state_dict()

    def mlp(z: torch.Tensor) -> torch.Tensor:
        return (z @ p["fc1.weight"].T + p["fc1.bias"]).clamp(min=0) @ p["fc2.weight"].T + p["fc2.bias"]

    scores = mlp(x.sum((2, 3)) / 63) + mlp(x.flatten(2).max(2).values)
    by_channel = 1 / (1 + torch.exp(-scores))[:, :, None, None]
    around = F.conv2d(x * by_channel, p["around.weight"], p["around.bias"], padding=2, groups=6)
    total = around.clone()
    for i, k in enumerate((7, 11, 21)):
        across, down = (p[f"strips.{i}.{j}.weight"] for j in (0, 1))
        total += F.conv2d(around, down @ across, padding=k // 2, groups=6)  # k x k, of rank one
        offset = p[f"strips.{i}.0.bias"][:, None].expand(-1, 9)[None]  # the first bias, where the second strip sees it
        spread = F.conv1d(offset, down[..., 0], padding=k // 2, groups=6)[..., None]
        total += spread + p[f"strips.{i}.1.bias"][:, None, None]
    weights = torch.einsum("oc,bchw->bohw", p["out.weight"][..., 0, 0], total) + p["out.bias"][:, None, None]
    close(module(x), x * by_channel * weights)
    close(module.attention(x).weights, by_channel * weights)


def test_options() -> None:
    assert "one hidden unit" in CPCA(3).note
    with pytest.raises(RegardError, match="reduction 0"):
        CPCA(8, 0)
