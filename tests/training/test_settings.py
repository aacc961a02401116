"""Each setting of a run does what it says, seen from what the run leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch
from tiny_runs import PLAIN, Train, over_families, state_of, table
from torch import Tensor

import regard
from regard.config import OptimSettings, Recipe
from regard.graph.detector import Detector
from regard.training import loop


def with_optim(**changes: Any) -> Recipe:
    optim = OptimSettings.model_validate({**PLAIN.optim.model_dump(), **changes})
    return PLAIN.model_copy(update={"optim": optim})


def test_a_gate_learns_at_its_own_rate_without_decay_and_is_reported(gated: Detector, train: Train) -> None:
    recipe = with_optim(gate_lr_factor=7.0, weight_decay=0.1, final_lr_fraction=1.0)
    run = train(gated, recipe=recipe, epochs=2)
    groups = {group["name"]: group for group in state_of(run)["optimizer"]["param_groups"]}
    assert len(groups["gates"]["params"]) == 1
    assert groups["gates"]["lr"] == pytest.approx(0.07)
    assert groups["weights"]["lr"] == pytest.approx(0.01)
    assert groups["gates"]["weight_decay"] == 0
    assert groups["weights"]["weight_decay"] == 0.1
    gamma = state_of(run)["model"]["model.6.gamma"].item()
    assert gamma != 0
    assert float(table(run)[-1]["gate/p4.se"]) == pytest.approx(gamma, rel=1e-5)
    # Reported is the gate of the weights that are kept: the averaged ones.
    assert run.gates == {"p4.se": run.model.get_parameter("model.6.gamma").item()}
    assert json.loads((run.folder / "metrics.json").read_text())["gates"] == run.gates


@over_families()
@pytest.mark.parametrize(("nominal", "updates"), [(0, 4), (8, 2), (12, 2), (64, 1)])
def test_updates_gather_batches_up_to_the_nominal_one(
    model: Detector, train: Train, nominal: int, updates: int
) -> None:
    run = train(model, recipe=with_optim(nominal_batch=nominal))  # an epoch is 4 + 4 + 4 + 1 images
    assert state_of(run)["ema"]["updates"] == updates


@over_families("yolo26n")
def test_frozen_layers_stay_as_they_were_to_the_bit(model: Detector, train: Train) -> None:
    before = model.state_dict()
    after = state_of(train(model, freeze=("2", "p4")))["model"]
    rows = {str(i) for i, row in enumerate(model.spec.layers) if i < 2 or row.name == "p4"}  # and their statistics
    head = str(len(model.spec.layers) - 1)  # its branches for levels without objects may stand still too
    body = {name for name in before if name.split(".")[1] != head}
    frozen = {name for name in body if torch.equal(after[name], before[name])}
    assert frozen == {name for name in body if name.split(".")[1] in rows}


@over_families()
def test_frozen_batch_norm_learns_without_its_statistics(model: Detector, train: Train) -> None:
    after = state_of(train(model, freeze_batchnorm=True))["model"]
    same = {name for name, tensor in model.state_dict().items() if torch.equal(after[name], tensor)}
    kept = {name for name, tensor in model.state_dict().items() if tensor.shape == after[name].shape}
    assert {name for name in kept if "running_" in name or "num_batches" in name} <= same
    assert not any(name.endswith("conv.weight") for name in same if ".dfl." not in name)


def sizes_seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Collect the input sizes that the network is trained on."""
    seen: list[tuple[int, ...]] = []
    original = loop.Trainer._scaled

    def watched(self: loop.Trainer, images: Tensor, epoch: int, i: int) -> Tensor:
        scaled = original(self, images, epoch, i)
        seen.append(tuple(scaled.shape[2:]))
        return scaled

    monkeypatch.setattr(loop.Trainer, "_scaled", watched)
    return seen


@over_families()
def test_multi_scale_varies_the_input_by_half(model: Detector, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sizes_seen(monkeypatch)
    train(model, name="fixed")
    assert set(seen) == {(64, 64)}
    seen.clear()
    train(model, name="varied", multi_scale=True, epochs=2)
    assert len(set(seen)) > 1 + (model.max_stride < 32)
    stride = model.max_stride
    assert all(height == width and height % stride == 0 and 32 <= height <= 96 for height, width in seen)
    first = list(seen)
    seen.clear()
    train(model, name="again", multi_scale=True, epochs=2)
    assert seen == first


@pytest.fixture
def fitness(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let validation in the loop measure these values, one an epoch."""
    values: list[float] = []
    given = iter(range(100))

    def measured(*_: object, **__: object) -> SimpleNamespace:
        value = values[next(given)]
        numbers = dict.fromkeys(("ap", "ap50", "ap75", "precision", "recall", "f1"), value)
        return SimpleNamespace(fitness=value, **numbers)

    monkeypatch.setattr(loop, "evaluate", measured)
    return values


def test_a_run_stops_when_nothing_gets_better(model: Detector, train: Train, fitness: list[float]) -> None:
    fitness += [0.1, 0.4, 0.3, 0.4, 0.9]
    run = train(model, epochs=9, patience=2)
    assert [float(row["val/ap"]) for row in table(run)] == [0.1, 0.4, 0.3, 0.4]  # equal is not better
    assert json.loads((run.folder / "metrics.json").read_text())["epoch"] == 2
    again = regard.resume(run.folder)  # as after a kill while the last images were drawn
    assert len(table(again)) == 4


def test_without_patience_a_run_never_stops(model: Detector, train: Train, fitness: list[float]) -> None:
    fitness += [0.4, 0.3, 0.2, 0.1]
    assert len(table(train(model, epochs=4, patience=0))) == 4


def test_as_long_as_ap_is_zero_the_last_epoch_is_the_best_and_none_stops(
    model: Detector, train: Train, fitness: list[float]
) -> None:
    fitness += [0.0, 0.0, 0.0, 0.0]
    run = train(model, epochs=4, patience=1)
    assert json.loads((run.folder / "metrics.json").read_text())["epoch"] == 4
    fitness += [0.0, 0.2, 0.0]
    run = train(model, name="found", epochs=3, patience=0)
    assert json.loads((run.folder / "metrics.json").read_text())["epoch"] == 2


def test_patience_counts_epochs_that_were_validated(model: Detector, train: Train, fitness: list[float]) -> None:
    fitness += [0.1, 0.2, 0.1, 0.1]
    assert len(table(train(model, epochs=9, patience=2, val_every=3))) == 9


def test_without_boxes_in_val_the_last_epoch_is_the_best(
    model: Detector, train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = yolo_set(tmp_path / "data")
    for labels in (source / "labels" / "val").glob("*.txt"):
        labels.write_text("")
    run = train(model, epochs=2, patience=1, data=source)
    assert json.loads((run.folder / "metrics.json").read_text())["epoch"] == 2
    assert "val has no boxes" in caplog.text


def test_epochs_between_validations_are_left_empty(model: Detector, train: Train) -> None:
    rows = table(train(model, epochs=5, val_every=3))
    assert [math.isnan(float(row["val/ap"])) for row in rows] == [True, True, False, True, False]  # and the last


def test_kept_classes_only(model: Detector, train: Train) -> None:
    run = train(model, classes=("odd",))
    assert run.model.names == {0: "ordinary", 1: "odd"}
    assert [entry.labels for entry in run.metrics.per_class] == [0, 3]  # each scene has one odd object
    splits = json.loads((run.folder / "run.json").read_text())["data"]["splits"]
    assert splits["train"] == {"images": 13, "boxes": 13}


def test_all_as_one_class(model: Detector, train: Train) -> None:
    run = train(model, single_cls=True)
    assert run.model.names == {0: "item"}
    assert run.metrics.per_class[0].labels > 3
    again = regard.resume(run.folder)
    assert again.model.names == {0: "item"}


def yolo_set(folder: Path) -> Path:
    """Write scenes as files."""
    from regard.data.synthetic import read as synthetic

    for split, records in synthetic("synthetic:context?train=5&val=2&test=0").splits.items():
        for i, record in enumerate(records):
            image, label = (
                folder / kind / split / f"{i}.{end}" for kind, end in (("images", "png"), ("labels", "txt"))
            )
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(image), record.image.read()[:, :, ::-1])
            rows = zip(record.class_ids, record.boxes_cxcywh, strict=True)
            label.write_text("\n".join(f"{c} {' '.join(map(str, box))}" for c, box in rows))
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [ordinary, odd]\n")
    return folder


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_cache_changes_nothing_and_disk_is_next_to_the_run(
    model: Detector, train: Train, tmp_path: Path, cache: str
) -> None:
    data = yolo_set(tmp_path / "data")
    plain = state_of(train(model, name="runs/plain", data=data))["model"]
    cached = state_of(train(model, name="runs/cached", data=data, cache=cache))["model"]
    assert all(torch.equal(cached[name], tensor) for name, tensor in plain.items())
    folder = tmp_path / "runs" / "image-cache"
    assert len(list(folder.glob("*.npy"))) == (5 if cache == "disk" else 0)
    for entry in folder.glob("*.npy"):
        entry.write_bytes(b"cut short")
    again = state_of(train(model, name="runs/again", data=data, cache=cache))["model"]
    assert all(torch.equal(again[name], tensor) for name, tensor in plain.items())


def test_a_folder_with_a_run_is_not_written_over(model: Detector, train: Train) -> None:
    run = train(model)
    with pytest.raises(regard.RegardError, match="there is a run in this folder"):
        train(model)
    assert len(table(run)) == 1
