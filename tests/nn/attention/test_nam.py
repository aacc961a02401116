from __future__ import annotations

import torch

from regard.nn.attention.nam import NAM


def test_by_loops() -> None:
    module, x = NAM(3).double().eval(), torch.randn(2, 3, 5, 7, dtype=torch.float64)
    norm = module.norm
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(tensor, 0.2, 2)  # type: ignore[arg-type]
    with torch.no_grad():
        norm.weight[1] *= -1  # a share is that of the absolute value
    y, found = module(x), module.attention(x)
    assert found.kind == "elements"
    total = sum(abs(g) for g in norm.weight.tolist())
    for c in range(3):
        gamma, beta = norm.weight[c], norm.bias[c]
        normed = (x[:, c] - norm.running_mean[c]) / (norm.running_var[c] + 1e-5).sqrt() * gamma + beta  # type: ignore[index]
        weights = 1 / (1 + torch.exp(-normed * gamma.abs() / total))
        torch.testing.assert_close(found.weights[:, c], weights, rtol=0, atol=1e-12)
        torch.testing.assert_close(y[:, c], x[:, c] * weights, rtol=0, atol=1e-12)


def test_a_norm_without_scales_weighs_all_alike() -> None:
    module, x = NAM(4), torch.randn(2, 4, 3, 3)
    torch.nn.init.zeros_(module.norm.weight)
    assert torch.equal(module(x), x / 2)


def test_a_single_value_in_training() -> None:
    module, x = NAM(4).train(), torch.randn(1, 4, 1, 1)
    assert torch.equal(module(x), module.eval()(x))
