from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.graph.build import build
from regard.graph.edit import insert
from regard.graph.read import read_spec
from regard.nn.attention.se import SE
from regard.nn.gate import Gated, gate_values


def test_the_gate_goes_from_the_input_to_the_module() -> None:
    gate, x = Gated(SE(6, 2)).double(), torch.randn(2, 6, 5, 7, dtype=torch.float64)
    assert torch.equal(gate(x), x)
    nn.init.constant_(gate.gamma, 1.0)
    assert torch.allclose(gate(x), gate.module(x))
    nn.init.constant_(gate.gamma, 0.25)
    assert torch.allclose(gate(x), 0.75 * x + 0.25 * gate.module(x))


def test_gradients() -> None:
    gate, x = Gated(SE(6, 2)).double(), torch.randn(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    gate(x).square().sum().backward()
    assert gate.gamma.grad is not None
    assert gate.gamma.grad.abs() > 0
    for parameter in gate.module.parameters():
        assert parameter.grad is not None  # a closed gate may not hide parameters from distributed training
        assert torch.count_nonzero(parameter.grad) == 0
    nn.init.constant_(gate.gamma, 0.3)
    assert torch.autograd.gradcheck(gate, (x,))


def test_a_gate_opens_in_training() -> None:
    gate, x = Gated(SE(6, 2)), torch.randn(4, 6, 5, 5)
    optimizer = torch.optim.SGD(gate.parameters(), 0.5)
    for _ in range(20):
        optimizer.zero_grad()
        (gate(x) - 0.5 * x).square().mean().backward()
        optimizer.step()
    assert gate.gamma > 0.5
    assert gate_values(nn.Sequential(nn.Identity(), gate)) == {"1": gate.gamma.item()}


@pytest.mark.parametrize("after", range(24))
def test_a_gated_insertion_anywhere_leaves_the_outputs_bit_identical(after: int) -> None:
    torch.manual_seed(1)
    spec = read_spec("yolov5n")
    base = build(spec)
    edited = build(insert(spec, "SE", after=after))
    state = {}
    for key, tensor in base.state_dict().items():
        row = int(key.split(".")[1])
        state[key.replace(f"model.{row}.", f"model.{row + (row > after)}.", 1)] = tensor
    missing, unexpected = edited.load_state_dict(state, strict=False)
    assert sorted(missing) == [f"model.{after + 1}.{k}" for k in ("gamma", "module.l1.weight", "module.l2.weight")]
    assert unexpected == []
    x = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        assert all(map(torch.equal, edited(x), base(x)))
