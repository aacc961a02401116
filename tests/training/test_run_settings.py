"""A damaged run.json is an error; a run is not continued with defaults that nobody chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regard.config import TrainSettings, describe
from regard.errors import RegardError
from regard.training.folder import run_settings

SETTINGS = describe(TrainSettings(epochs=7))


def test_settings_of_a_sound_run() -> None:
    config = {"settings": {**SETTINGS, "workers": 3}, "data": {"source": "x"}}
    assert run_settings(config, Path("run.json")) == (TrainSettings(epochs=7, workers=3), "x")
    del config["settings"]["split_seed"]  # an earlier version did not have it
    assert run_settings(config, Path("run.json"))[0].epochs == 7


@pytest.mark.parametrize(
    "settings",
    [{}, None, [], {**SETTINGS, "epochs": "x"}, {k: v for k, v in SETTINGS.items() if k != "seed"}],
)
def test_settings_that_are_damaged_or_lost(settings: Any) -> None:
    with pytest.raises(RegardError, match="damaged"):
        run_settings({"settings": settings, "data": {"source": "x"}}, Path("run.json"))
