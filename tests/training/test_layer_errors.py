"""Layers that only training brings down: the error names them and the way out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_runs import Train
from torch import Tensor, nn

import regard
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.training.layer_errors import check_all_used


class PooledNorm(nn.Module):
    """Batch norm behind a global pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.norm(x.mean((2, 3), keepdim=True)).sigmoid()


class Fixed(nn.Module):
    """A product with a matrix that stays in float32, made within the forward."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return (x.flatten(2).transpose(1, 2) @ self.mix).transpose(1, 2).reshape(x.shape)


class HalfUsed(nn.Module):
    """A layer with a parameter that it does not use."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.used, self.idle = nn.Parameter(torch.ones(channels, 1, 1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.used


def with_layer(model: Detector, kind: type[nn.Module]) -> Detector:
    return regard.insert(model, kind, after="p4")


def test_batch_norm_of_one_value_per_channel(model: Detector, train: Train) -> None:
    with pytest.raises(
        RegardError, match=r"(?s)layer 'p4.poolednorm' \(PooledNorm\).*1 x 128 x 1 x 1.*freeze_batchnorm"
    ):
        train(with_layer(model, PooledNorm))  # 13 images in batches of 4 leave one
    train(with_layer(model, PooledNorm), name="frozen", freeze_batchnorm=True)


def test_types_that_do_not_match_in_bfloat16(model: Detector, train: Train) -> None:
    with pytest.raises(RegardError, match=r"(?s)layer 'p4.fixed' \(Fixed\).*test_layer_errors.py:\d+.*--precision 32"):
        train(with_layer(model, Fixed), precision="bf16")
    train(with_layer(model, Fixed), name="single", precision="32")


def test_parameters_without_a_gradient_are_named(model: Detector) -> None:
    edited = with_layer(model, HalfUsed).train()
    sum(level.sum() for level in edited(torch.rand(2, 3, 64, 64))).backward()
    with pytest.raises(RegardError, match=r"layer 'p4.halfused' \(HalfUsed\).* depend on: .*idle"):
        check_all_used(edited)
    edited.layer("p4.halfused").requires_grad_(False)
    check_all_used(edited)


def test_errors_outside_the_layers_stay_as_they_are(model: Detector, train: Train, monkeypatch: Any) -> None:
    monkeypatch.setattr(type(model.head), "criterion", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(model)
