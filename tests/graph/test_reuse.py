"""Layers that an edited detector shares with the one that it was made from."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

import regard
from regard.api.edits import Edit, difference
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.nn import counter


@pytest.fixture(scope="module")
def model() -> Detector:
    return regard.load("odd-one-out-se")


def rows_of(model: Detector) -> dict[str, torch.nn.Module]:
    return dict(model.named_layers())


@pytest.mark.parametrize(
    ("edit", "fresh"),
    [
        (Edit("insert", "p3", "ECA"), {"p3.eca"}),
        (Edit("insert", "p3", "SE", gate=False), {"p3.se"}),
        (Edit("remove", "p4.se"), set()),
        (Edit("replace", "p4", "C3TR"), {"p4"}),
    ],
)
def test_only_what_an_edit_changes_is_new(edit: Edit, fresh: set[str], model: Detector) -> None:
    before = deepcopy(model.state_dict())
    shared, copied = edit.apply(model, share=True), edit.apply(model)
    old, new = rows_of(model), rows_of(shared)
    assert {name for name, layer in new.items() if layer is not old.get(name)} == fresh
    assert not any(layer is old.get(name) for name, layer in copied.named_layers())
    assert shared.spec == copied.spec
    assert shared.spec.info == copied.spec.info
    assert row_costs(shared, 64) == row_costs(copied, 64)
    assert difference(model, shared) == difference(model, copied)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    if edit.kind != "replace" and edit.gate:
        images = torch.rand(1, 3, 64, 64)
        assert torch.equal(shared(images).boxes, copied(images).boxes)


def test_a_layer_on_other_maps_is_not_shared(model: Detector) -> None:
    edit = Edit("replace", "p3", "Conv", {"out_channels": 24, "kernel_size": 1})
    shared, old = edit.apply(model, share=True), rows_of(model)
    new = [name for name, layer in shared.named_layers() if layer is not old[name]]
    assert new == ["p3", "p4.down"]  # those that follow have the same maps again


def test_a_detector_of_another_precision_shares_nothing(model: Detector) -> None:
    half = deepcopy(model).half()
    old = rows_of(half)
    shared = Edit("insert", "p3", "ECA").apply(half, share=True)
    assert not any(layer is old.get(name) for name, layer in shared.named_layers())
    assert all(tensor.dtype == torch.float32 for tensor in shared.parameters())


def test_costs_are_those_of_torchs_own_shapes(model: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = row_costs(model, 64)
    monkeypatch.setattr(counter, "BATCH_NORM", None)
    assert row_costs(model, 64) == quick
