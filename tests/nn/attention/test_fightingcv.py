"""Modules against the MIT-licensed code of External-Attention-pytorch, where its package is installed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from catalogue import build, some
from masked import close
from torch import Tensor, nn

pytest.importorskip("fightingcv_attention", reason="needs fightingcv-attention, the package of that code")


def theirs(file: str, name: str, *args: int) -> Any:
    module = getattr(pytest.importorskip(f"fightingcv_attention.attention.{file}"), name)
    return module(*args).double().eval()


def fill(module: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value.view(parameter.shape))


def test_simam() -> None:
    x = some()
    close(build("SimAM")(x), theirs("SimAM", "SimAM")(x))


def test_external_attention() -> None:
    module, other, x = (
        build("ExternalAttention", memory=11),
        theirs("ExternalAttention", "ExternalAttention", 16, 11),
        some(),
    )
    fill(other, [*module.parameters()])
    close(module(x), other(x.flatten(2).mT).mT.reshape(x.shape))


def test_squeeze_and_excitation() -> None:
    module, other, x = build("SE", reduction=4), theirs("SEAttention", "SEAttention", 16, 4), some()
    fill(other, [*module.parameters()])
    close(module(x), other(x))


@pytest.mark.parametrize("groups", [2, 4])
def test_shuffle_attention(groups: int) -> None:
    module: Any = build("ShuffleAttention", groups=groups)
    other, x = theirs("ShuffleAttention", "ShuffleAttention", 16, 16, groups), some()
    of_channels, of_values = (module.channel_weight, module.channel_bias), (module.spatial_weight, module.spatial_bias)
    fill(other, [*of_channels, *of_values, module.norm.weight, module.norm.bias])
    close(module(x), other(x))


def test_triplet_attention() -> None:
    module: Any = build("TripletAttention")
    other, x = theirs("TripletAttention", "TripletAttention"), some()
    for gate, its in (
        (module.channel_by_column, other.cw),
        (module.row_by_channel, other.hc),
        (module.row_by_column, other.hw),
    ):
        fill(its, [*gate.parameters()])
    close(module(x), other(x))


def test_parnet_whose_third_branch_is_not_normalised() -> None:
    module: Any = build("ParNetAttention")
    other, x = theirs("ParNetAttention", "ParNetAttention", 16), some()
    module.norm.eps = 0.0
    nn.init.zeros_(module.norm.bias)
    narrow, wide = module.narrow, module.wide
    none = torch.zeros(16, dtype=torch.float64)
    excite = [module.excite.weight, module.excite.bias]
    fill(other, [*excite, narrow[0].weight, none, *narrow[1].parameters(), wide[0].weight, none, *wide[1].parameters()])
    close(module(x), other(x))
