"""A damaged state of a run is one error before anything of it is loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from regard.errors import RegardError
from regard.training.state import checked_state

FILE = Path("state.pt")


def made(kind: type[Optimizer]) -> tuple[nn.Module, Optimizer, dict[str, Any]]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    options: dict[str, Any] = {"momentum": 0.9} if kind is SGD else {}
    optimizer = kind(model.parameters(), lr=0.1, **options)
    template = state_of(model, optimizer)
    model(torch.randn(2, 3, 7, 11)).square().sum().backward()
    optimizer.step()
    return model, optimizer, copy.deepcopy(template)


def state_of(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    return {
        "epoch": 2,
        "rows": [{"epoch": 1, "val/ap": float("nan")}],
        "best": [0.25, 1],
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": {"updates": 7, "model": model.state_dict()},
        "precision": {"scale": 2.0},
    }


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_a_sound_state_is_loaded_whole(kind: type[Optimizer]) -> None:
    model, optimizer, template = made(kind)
    state = state_of(model, optimizer)
    found = checked_state(state, FILE, template=template, optimizer=optimizer, epochs=2)
    assert found.keys() == state.keys()
    fresh = kind(copy.deepcopy(model).parameters(), lr=0.1)
    fresh.load_state_dict(found["optimizer"])
    for number, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            assert torch.equal(fresh.state_dict()["state"][number][name], value)


@pytest.mark.parametrize("kind", [SGD, AdamW])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("optimizer", "state", 0, "*"), torch.zeros(1)),
        (("optimizer", "state", 0, "*"), torch.full((5, 3, 3, 3), float("nan"))),
        (("optimizer", "state", 0, "*"), torch.zeros(5, 3, 3, 3, dtype=torch.int64)),
        (("optimizer", "state", 0, "*"), [1.0]),
        (("optimizer", "state", 0), {"other": torch.zeros(5, 3, 3, 3)}),
        (("optimizer", "state", 99), {}),
        (("optimizer", "state"), []),
        (("optimizer",), None),
        (("model", "0.weight"), torch.zeros(3)),
        (("model", "0.weight"), torch.full((5, 3, 3, 3), float("inf"))),
        (("model",), [1]),
        (("model", "more"), torch.zeros(1)),
        (("ema", "updates"), "x"),
        (("ema", "updates"), -1),
        (("ema",), {}),
        (("precision", "scale"), float("nan")),
        (("precision",), None),
        (("epoch",), 3),
        (("epoch",), True),
        (("epoch",), "1"),
        (("rows",), {}),
        (("rows",), [{"a": "x"}]),
        (("best",), [1.0]),
        (("best",), [None, 1]),
    ],
)
def test_a_damaged_state_is_one_error(kind: type[Optimizer], path: tuple[Any, ...], value: Any) -> None:
    model, optimizer, template = made(kind)
    state = copy.deepcopy(state_of(model, optimizer))
    place: Any = state
    for key in path[:-1]:
        place = place[key]
    place[("momentum_buffer" if kind is SGD else "exp_avg") if path[-1] == "*" else path[-1]] = value
    with pytest.raises(RegardError, match="damaged") as caught:
        checked_state(state, FILE, template=template, optimizer=optimizer, epochs=2)
    assert caught.value.file == FILE
