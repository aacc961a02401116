from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.config import OptimSettings
from regard.nn.gate import Gated
from regard.training.optim import build_optimizer, parameter_groups, schedule, set_step

PLAIN = OptimSettings(lr=0.1, final_lr_fraction=0.2, warmup_epochs=0, warmup_min_steps=0, nominal_batch=0)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)
        self.bn = nn.BatchNorm2d(5)
        self.norm = nn.LayerNorm((2, 3))  # a normalisation whose weight is a matrix
        self.gate = Gated(nn.Conv2d(5, 5, 1, bias=False))
        self.gamma = nn.Parameter(torch.ones(5))  # no gate, only called so
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.tied = nn.Conv2d(3, 5, 1, bias=False)
        self.tied.weight = self.conv.weight


def test_every_parameter_that_learns_is_in_one_group() -> None:
    model = Model()
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {group: [names[id(p)] for p in found] for group, found in parameter_groups(model).items()}
    assert groups == {
        "weights": ["conv.weight", "gate.module.weight"],
        "norms": ["gamma", "bn.weight", "norm.weight"],
        "biases": ["conv.bias", "bn.bias", "norm.bias"],
        "gates": ["gate.gamma"],
    }


def test_groups_without_parameters_are_left_out() -> None:
    assert list(parameter_groups(nn.Linear(2, 3))) == ["weights", "biases"]


@pytest.mark.parametrize(
    ("nominal", "batch", "factor"), [(0, 16, 1), (64, 16, 1), (64, 20, 60 / 64), (64, 128, 2), (64, 1, 1)]
)
def test_only_weights_decay_in_proportion_to_the_images_of_an_update(nominal: int, batch: int, factor: float) -> None:
    settings = OptimSettings(weight_decay=0.01, nominal_batch=nominal)
    decay = {g["name"]: g["weight_decay"] for g in build_optimizer(Model(), settings, batch).param_groups}
    assert decay == {"weights": pytest.approx(0.01 * factor), "norms": 0, "biases": 0, "gates": 0}


def test_the_rate_falls_from_first_to_last_step() -> None:
    linear = [schedule(step, 5, 4, PLAIN, 8).lr["weights"] for step in range(21)]
    assert linear[0] == pytest.approx(0.1)
    assert linear[10] == pytest.approx(0.06)  # halfway between 0.1 and 0.02
    assert linear[20] == pytest.approx(0.02)
    cosine = [schedule(s, 5, 4, PLAIN.model_copy(update={"schedule": "cosine"}), 8).lr["weights"] for s in range(21)]
    assert (cosine[0], cosine[10], cosine[20]) == pytest.approx((0.1, 0.06, 0.02))
    assert cosine[5] == pytest.approx(0.02 + 0.08 * (1 + 0.5**0.5) / 2)
    assert linear == sorted(linear, reverse=True)
    assert cosine == sorted(cosine, reverse=True)


def test_warm_up_by_hand() -> None:
    settings = OptimSettings(lr=0.01, final_lr_fraction=1.0, gate_lr_factor=3.0)  # 3 epochs of 50 batches: 150 steps
    start, third, end = (schedule(step, 50, 10, settings, 16) for step in (0, 50, 150))
    assert start.lr == {"weights": 0, "norms": 0, "biases": 0.1, "gates": 0}
    assert third.lr == pytest.approx({"weights": 0.01 / 3, "norms": 0.01 / 3, "biases": 0.07, "gates": 0.01})
    assert end.lr == pytest.approx({"weights": 0.01, "norms": 0.01, "biases": 0.01, "gates": 0.03})
    assert (start.momentum, third.momentum, end.momentum) == pytest.approx((0.8, 0.8 + 0.137 / 3, 0.937))
    assert (start.accumulate, third.accumulate, end.accumulate) == (1, 2, 4)
    assert schedule(499, 50, 10, settings, 16) == end


def test_warm_up_lasts_at_least_so_many_steps() -> None:
    settings = OptimSettings(lr=0.01, final_lr_fraction=1.0)
    assert schedule(99, 7, 50, settings, 16).lr["weights"] < 0.01
    assert schedule(100, 7, 50, settings, 16).lr["weights"] == pytest.approx(0.01)


@pytest.mark.parametrize(("nominal", "batch", "expected"), [(64, 16, 4), (64, 128, 1), (0, 16, 1), (64, 13, 5)])
def test_accumulation(nominal: int, batch: int, expected: int) -> None:
    settings = PLAIN.model_copy(update={"nominal_batch": nominal})
    assert schedule(0, 5, 4, settings, batch).accumulate == expected


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_reaches_the_optimiser_and_survives_its_state(name: str) -> None:
    settings = OptimSettings.model_validate({"optimizer": name, "gate_lr_factor": 2.0})
    model = Model()
    optimizer = build_optimizer(model, settings, 16)
    again = build_optimizer(model, settings, 16)
    again.load_state_dict(optimizer.state_dict())
    step = schedule(30, 7, 11, settings, 16)
    set_step(again, step)
    for group in again.param_groups:
        assert group["lr"] == step.lr[group["name"]]
        assert (group["betas"][0] if name == "adamw" else group["momentum"]) == step.momentum


def test_one_nesterov_step_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    settings = PLAIN.model_copy(update={"momentum": 0.5, "weight_decay": 0.25})
    optimizer = build_optimizer(layer, settings, 8)
    layer.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    # gradient 3 + 0.25 * 2 = 3.5, velocity 3.5, step 0.1 * (3.5 + 0.5 * 3.5)
    assert layer.weight.item() == pytest.approx(2 - 0.1 * 5.25)
