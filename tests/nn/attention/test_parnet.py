from __future__ import annotations

import torch
from slow import batch_norm, convolve

from regard.nn.attention.parnet import ParNetAttention


def test_by_loops() -> None:
    module, x = ParNetAttention(3).double().eval(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2 if tensor.ndim == 1 else -0.7, 0.9)
    n = batch_norm(x, module.norm)
    weights = 1 / (1 + torch.exp(-n.mean((2, 3)) @ module.excite.weight.T - module.excite.bias))
    total = n * weights[..., None, None]
    for conv, bn in (module.narrow, module.wide):
        total = total + batch_norm(convolve(x, conv), bn)  # type: ignore[arg-type]
    torch.testing.assert_close(module(x), total / (1 + torch.exp(-total)), rtol=0, atol=1e-12)
    torch.testing.assert_close(module.attention(x).weights, weights, rtol=0, atol=1e-12)
