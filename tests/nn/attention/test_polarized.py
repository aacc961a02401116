from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from regard.nn.attention.polarized import PolarizedSelfAttention


@pytest.mark.parametrize("channels", [1, 6])
def test_by_loops(channels: int) -> None:
    module, x = PolarizedSelfAttention(channels).double(), torch.randn(2, channels, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    y = module(x)
    for image in range(2):
        vectors = list(x[image].flatten(1).T)
        query, value = module.channel_query, module.channel_value
        assert query.bias is not None
        assert value.bias is not None
        scores = [math.exp((query.weight[0, :, 0, 0] @ v + query.bias[0]).item()) for v in vectors]
        squeezed = sum(
            s / sum(scores) * (value.weight[:, :, 0, 0] @ v + value.bias) for s, v in zip(scores, vectors, strict=True)
        )
        assert isinstance(squeezed, torch.Tensor)
        out = module.channel_out.weight @ squeezed + module.channel_out.bias
        by_channel = 1 / (1 + torch.exp(-F.layer_norm(out, [channels], module.norm.weight, module.norm.bias)))
        vectors = [v * by_channel for v in vectors]
        mean = torch.stack(vectors).mean(0)
        scores = [math.exp(s) for s in (module.spatial_query.weight @ mean + module.spatial_query.bias).tolist()]
        value = module.spatial_value
        assert value.bias is not None
        for i, v in enumerate(vectors):
            mixed = value.weight[:, :, 0, 0] @ v + value.bias
            score = sum(s / sum(scores) * m for s, m in zip(scores, mixed.tolist(), strict=True))
            expected = v / (1 + math.exp(-score))
            torch.testing.assert_close(y[image, :, i // 5, i % 5], expected, rtol=0, atol=1e-12)
