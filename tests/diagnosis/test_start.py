"""What training started from is known of a run that was started in Python, as of one by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import regard
from regard.diagnosis.packages import own
from regard.training.folder import read_config

DATA = "synthetic:context?train=8&val=4&test=0"


def test_a_detector_knows_what_its_weights_came_from(tmp_path: Path) -> None:
    fresh, file = regard.load("odd-one-out"), tmp_path / "model.safetensors"
    assert fresh.started_from == "odd-one-out"
    assert regard.insert(fresh, "SE", after="p4").started_from == "odd-one-out"
    regard.save(fresh, file)
    for loaded in (regard.load(file), regard.load("odd-one-out", weights=file)):
        assert loaded.started_from == str(file)
        assert regard.insert(loaded, "SE", after="p4").started_from == str(file)
    fresh.load_state_dict(loaded.state_dict())
    assert fresh.started_from is None


@pytest.mark.parametrize("given", ["name", "detector"])
def test_the_doctor_finds_random_weights_of_a_run_in_python(given: str, tmp_path: Path) -> None:
    model = "odd-one-out" if given == "name" else regard.insert("odd-one-out", "SE", after="p4")
    settings: Any = {"epochs": 1, "imgsz": 64, "workers": 0, "plots": False}
    run = regard.train(model, DATA, folder=tmp_path / "run", verbose=False, **settings)
    assert own.read(run.folder).start == "odd-one-out"
    diagnosis = regard.doctor(run.folder)
    (found,) = (one for one in diagnosis.findings if one.cause == "start_weights")
    assert "random weights (odd-one-out)" in found.evidence
    again = regard.resume(run.folder, epochs=2, verbose=False)
    assert read_config(again.folder)["start"]["source"] == "odd-one-out"
