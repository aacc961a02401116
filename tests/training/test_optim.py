from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.config import OptimSettings
from regard.nn.gate import Gated
from regard.training.optim import Length, build_optimizer, choose_optimizer, parameter_groups, schedule, set_step

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
    decay = {
        g["name"]: g["weight_decay"] for g in build_optimizer(Model(), settings, Length(99, 9, batch)).param_groups
    }
    assert decay == {"weights": pytest.approx(0.01 * factor), "norms": 0, "biases": 0, "gates": 0}


def test_the_rate_falls_from_first_to_last_step() -> None:
    linear = [schedule(step, PLAIN, Length(5, 4, 8)).lr["weights"] for step in range(21)]
    assert linear[0] == pytest.approx(0.1)
    assert linear[10] == pytest.approx(0.06)  # halfway between 0.1 and 0.02
    assert linear[20] == pytest.approx(0.02)
    cosine = [
        schedule(s, PLAIN.model_copy(update={"schedule": "cosine"}), Length(5, 4, 8)).lr["weights"] for s in range(21)
    ]
    assert (cosine[0], cosine[10], cosine[20]) == pytest.approx((0.1, 0.06, 0.02))
    assert cosine[5] == pytest.approx(0.02 + 0.08 * (1 + 0.5**0.5) / 2)
    assert linear == sorted(linear, reverse=True)
    assert cosine == sorted(cosine, reverse=True)


def test_warm_up_by_hand() -> None:
    settings = OptimSettings(lr=0.01, final_lr_fraction=1.0, gate_lr_factor=3.0)  # 3 epochs of 50 batches: 150 steps
    start, third, end = (schedule(step, settings, Length(50, 10, 16)) for step in (0, 50, 150))
    assert start.lr == {"weights": 0, "norms": 0, "biases": 0.1, "gates": 0}
    assert third.lr == pytest.approx({"weights": 0.01 / 3, "norms": 0.01 / 3, "biases": 0.07, "gates": 0.01})
    assert end.lr == pytest.approx({"weights": 0.01, "norms": 0.01, "biases": 0.01, "gates": 0.03})
    assert (start.momentum, third.momentum, end.momentum) == pytest.approx((0.8, 0.8 + 0.137 / 3, 0.937))
    assert (start.accumulate, third.accumulate, end.accumulate) == (1, 2, 4)
    assert schedule(499, settings, Length(50, 10, 16)) == end


def test_warm_up_lasts_at_least_so_many_steps() -> None:
    settings = OptimSettings(lr=0.01, final_lr_fraction=1.0)
    assert schedule(99, settings, Length(7, 50, 16)).lr["weights"] < 0.01
    assert schedule(100, settings, Length(7, 50, 16)).lr["weights"] == pytest.approx(0.01)


@pytest.mark.parametrize(("nominal", "batch", "expected"), [(64, 16, 4), (64, 128, 1), (0, 16, 1), (64, 13, 5)])
def test_accumulation(nominal: int, batch: int, expected: int) -> None:
    settings = PLAIN.model_copy(update={"nominal_batch": nominal})
    assert schedule(0, settings, Length(5, 4, batch)).accumulate == expected


@pytest.mark.parametrize("name", ["sgd", "adamw", "musgd"])
def test_a_step_reaches_the_optimiser_and_survives_its_state(name: str) -> None:
    settings = OptimSettings.model_validate({"optimizer": name, "gate_lr_factor": 2.0})
    model = Model()
    optimizer = build_optimizer(model, settings, Length(7, 11, 16))
    again = build_optimizer(model, settings, Length(7, 11, 16))
    again.load_state_dict(optimizer.state_dict())
    step = schedule(30, settings, Length(7, 11, 16))
    set_step(again, step)
    for group in again.param_groups:
        assert group["lr"] == step.lr[group["name"]]
        assert (group["betas"][0] if name == "adamw" else group["momentum"]) == step.momentum


def test_one_nesterov_step_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    settings = PLAIN.model_copy(update={"momentum": 0.5, "weight_decay": 0.25})
    optimizer = build_optimizer(layer, settings, Length(5, 4, 8))
    layer.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    # gradient 3 + 0.25 * 2 = 3.5, velocity 3.5, step 0.1 * (3.5 + 0.5 * 3.5)
    assert layer.weight.item() == pytest.approx(2 - 0.1 * 5.25)


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "expected"),
    [
        (128, 16, 100, ("adamw", 0.000119, 0.9, 0.9)),
        (64 * 100, 16, 100, ("adamw", 0.000119, 0.9, 0.9)),  # exactly 10,000 updates
        (64 * 100 + 1, 16, 100, ("musgd", 0.01, 0.8, 0.937)),
        (64 * 100 + 1, 128, 100, ("adamw", 0.000119, 0.9, 0.9)),
        (64 * 10_000 + 1, 16, 1, ("musgd", 0.01, 0.8, 0.9)),
    ],
)
def test_auto_is_adamw_in_short_runs_and_musgd_in_long_ones(
    images: int, batch: int, epochs: int, expected: tuple[str, float, float, float]
) -> None:
    settings = OptimSettings(optimizer="auto", lr=0.5)
    found = choose_optimizer(settings, Length(images // batch, epochs, batch), images, classes=80)
    assert (found.optimizer, found.lr, found.warmup_momentum, found.momentum) == expected
    assert found.warmup_bias_lr == 0
    assert choose_optimizer(found, Length(1, 1, 1), 10**9, 3) is found


def test_other_vectors_decay_if_asked() -> None:
    model = Model()
    groups = parameter_groups(model, OptimSettings(decay_vectors=True))
    assert [id(p) for p in groups["weights"]] == [
        id(p) for p in (model.gamma, model.conv.weight, model.gate.module.weight)
    ]
    assert list(groups) == ["weights", "norms", "biases", "gates"]


def test_whole_epochs_by_hand() -> None:
    settings = OptimSettings(
        lr=0.1, final_lr_fraction=0.2, warmup_min_steps=0, warmup_bias_lr=0.3, whole_epochs=True, optimizer="musgd"
    )
    length = Length(5, 4, 16)  # the warm-up is three epochs of five steps, the rates fall by 0.02 an epoch
    found = [schedule(step, settings, length) for step in range(20)]
    expected = [min(step / 15, 1) * (0.1 - 0.02 * (step // 5)) for step in range(20)]
    assert [step.lr["weights"] for step in found] == pytest.approx(expected)
    assert [step.lr["class_matrices"] for step in found] == pytest.approx([3 * rate for rate in expected])
    assert found[3].lr["class_biases"] == pytest.approx(0.3 * 0.8 + 0.3 * 0.2)
    assert found[3].lr["biases"] == pytest.approx(0.3 * 0.8 + 0.1 * 0.2)
    assert found[3].lr["class_norms"] == found[3].lr["class_weights"] == found[3].lr["class_matrices"]
    assert [step.accumulate for step in found[:16:5]] == [1, 2, 3, 4]
    assert schedule(4, settings, Length(5, 2, 16)).lr["weights"] == pytest.approx(0.8 * 0.1)  # at most one epoch
    assert schedule(0, settings, Length(5, 1, 16)).lr["weights"] == pytest.approx(0.1)
    assert schedule(2, settings, Length(3, 1, 16)).accumulate == 3  # the run has no more batches


def test_decay_counts_the_batches_that_the_run_has() -> None:
    settings = OptimSettings(weight_decay=0.01, whole_epochs=True)
    groups = build_optimizer(nn.Linear(2, 3), settings, Length(1, 3, 8)).param_groups
    assert groups[0]["weight_decay"] == pytest.approx(0.01 * 24 / 64)
