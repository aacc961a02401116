"""Whole runs on drawn images: continued exactly, in one process and two."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import over_families

import regard
from regard.config import OptimSettings
from regard.demo import RECIPE
from regard.graph.detector import Detector
from regard.nn.heads import AnchorFreeHead
from regard.training.folder import FILES
from regard.training.run import Run
from regard.weights.store import load_state

DATA = "synthetic:context?train=13&val=7&test=0"


def trained(model: Detector, folder: Path, **settings: object) -> Run:
    fixed = {"imgsz": 128, "batch": 4, "workers": 0, "recipe": RECIPE, "plots": False, "seed": 3}
    return regard.train(model, DATA, folder=folder, **{**fixed, **settings})  # type: ignore[arg-type]


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Detector:
    torch.manual_seed(5)
    name = getattr(request, "param", "odd-one-out")
    return regard.insert(regard.load(name), "SE", after="p4", options={"reduction": 4})


def test_a_run_keeps_what_explains_it_and_opens_the_gate(model: Detector, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    run = trained(model, tmp_path, epochs=2, plots=True)
    for name in ("run.json", "model.yaml", "results.csv", "best.safetensors", "last.safetensors", "state.pt"):
        assert (tmp_path / name).is_file(), name
    for name in ("labels.jpg", "predictions.jpg", "results.png", "pr_curve.png", "confusion.png"):
        assert (tmp_path / name).is_file(), name
    assert {path.name for path in tmp_path.iterdir()} <= {*FILES, "run.json", "tensorboard"}
    assert list((tmp_path / "tensorboard").glob("events.*"))
    assert list(run.gates) == ["p4.se"]
    assert load_state(tmp_path / "state.pt")["model"]["model.6.gamma"] != 0
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())  # the input is unchanged
    with (tmp_path / "results.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@over_families("yolov8n")
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    model: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regard.training.loop import Trainer

    settings: dict[str, Any] = {"epochs": 3}
    if isinstance(model.head, AnchorFreeHead):  # with an optimiser that keeps more than others
        settings |= {"epochs": 2, "imgsz": 64, "class_weight_power": 0.5}
        settings["recipe"] = RECIPE.model_copy(update={"optim": OptimSettings(optimizer="musgd", warmup_min_steps=0)})
    trained(model, tmp_path / "whole", **settings)
    original = Trainer._train_epoch

    def killed(self: Trainer, epoch: int) -> dict[str, float]:
        if epoch == 1:
            raise KeyboardInterrupt
        return original(self, epoch)

    monkeypatch.setattr(Trainer, "_train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(model, tmp_path / "broken", **settings)
    monkeypatch.setattr(Trainer, "_train_epoch", original)
    regard.resume(tmp_path / "broken")
    whole, broken = (load_state(tmp_path / name / "state.pt") for name in ("whole", "broken"))
    assert whole["epoch"] == broken["epoch"] == settings["epochs"]
    assert all(torch.equal(whole["model"][key], broken["model"][key]) for key in whole["model"])
    assert all(torch.equal(whole["ema"]["model"][key], broken["ema"]["model"][key]) for key in whole["model"])


def test_an_unknown_setting_is_rejected_by_name(model: Detector, tmp_path: Path) -> None:
    with pytest.raises(regard.RegardError, match="did you mean 'epochs'"):
        trained(model, tmp_path, epoch=1)
