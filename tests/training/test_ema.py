from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from tiny_runs import FAMILIES
from torch import nn

import regard
from regard.training.ema import Ema


def small_model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def disturb(model: nn.Module) -> None:
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(torch.rand(tensor.shape) if tensor.is_floating_point() else 7)


@pytest.mark.parametrize(
    "make", [small_model, *(pytest.param(partial(regard.load, name), marks=pytest.mark.slow) for name in FAMILIES)]
)
def test_against_the_formula(make: Callable[[], nn.Module]) -> None:
    model = make()
    ema = Ema(model, decay=0.9, tau=5.0)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for update in range(1, 6):
        disturb(model)
        ema.update(model)
        keep = 0.9 * (1 - math.exp(-update / 5.0))
        for name, tensor in model.state_dict().items():
            is_average = tensor.is_floating_point()
            expected[name] = keep * expected[name] + (1 - keep) * tensor if is_average else tensor.clone()
    assert ema.updates == 5
    for name, tensor in ema.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], msg=name)


def test_the_average_is_a_copy_for_evaluation() -> None:
    model = small_model().train()
    ema = Ema(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    disturb(ema.model)
    torch.testing.assert_close(model.state_dict(), before)
    assert model.training
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_a_model_that_stands_still_is_kept_bit_for_bit() -> None:
    model = small_model()
    disturb(model)
    ema = Ema(model)
    for _ in range(3):
        ema.update(model)
    assert all(
        torch.equal(a, b) for a, b in zip(ema.model.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_continues_from_its_state() -> None:
    model = small_model()
    ema, resumed = Ema(model, tau=5.0), Ema(small_model(), tau=5.0)
    disturb(model)
    ema.update(model)
    resumed.load_state_dict(ema.state_dict())
    disturb(model)
    ema.update(model)
    resumed.update(model)
    assert resumed.updates == 2
    torch.testing.assert_close(resumed.model.state_dict(), ema.model.state_dict(), rtol=0, atol=0)
