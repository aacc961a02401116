"""Residual convolutions: the sum by hand, and the formulas by which their width is chosen."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import regard
from regard.errors import RegardError
from regard.nn.residual import ResidualConvolutions, residual_flops, residual_parameters


def test_the_branch_is_added_to_the_input() -> None:
    layer, x = ResidualConvolutions(5, 3).eval(), torch.randn(2, 5, 7, 11)
    y = torch.nn.functional.conv2d(x, layer.cv1.conv.weight) / (1 + 1e-3) ** 0.5
    y = torch.nn.functional.conv2d(y * y.sigmoid(), layer.cv2.conv.weight, padding=1) / (1 + 1e-3) ** 0.5
    y = torch.nn.functional.conv2d(y * y.sigmoid(), layer.cv3.conv.weight) / (1 + 1e-3) ** 0.5
    torch.testing.assert_close(layer(x), x + y)


@pytest.mark.parametrize(("channels", "hidden"), [(1, 1), (5, 3), (128, 17)])
def test_the_formulas_count_what_there_is(channels: int, hidden: int) -> None:
    layer = ResidualConvolutions(channels, hidden)
    assert residual_parameters(channels, hidden) == sum(p.numel() for p in layer.parameters())
    with FlopCounterMode(display=False) as counter:
        layer(torch.rand(1, channels, 7, 11))
    assert residual_flops(channels, hidden, 7, 11) == counter.get_total_flops()


def test_a_width_that_is_no_width_is_rejected() -> None:
    with pytest.raises(RegardError, match="hidden 0"):
        ResidualConvolutions(5, 0)
    assert [ResidualConvolutions(c).hidden for c in (1, 3, 8, 30)] == [1, 1, 2, 7]


def test_it_is_inserted_saved_and_loaded_by_name(tmp_path: object) -> None:
    base = regard.load("odd-one-out")
    edited = regard.insert(base, "ResidualConvolutions", after="p4", options={"hidden": 7})
    regard.save(edited, f"{tmp_path}/control.safetensors")
    loaded = regard.load(f"{tmp_path}/control.safetensors")
    images = torch.rand(1, 3, 64, 64)
    assert all(map(torch.equal, loaded(images), base(images)))  # the gate is closed
    assert loaded.layer("p4.residualconvolutions").module.hidden == 7
