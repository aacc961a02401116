"""What may change when a run is continued, and what is rejected by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import Train, table

import regard
from regard.errors import RegardError
from regard.graph.detector import Detector


def test_more_epochs_follow_the_schedule_of_the_longer_run(model: Detector, train: Train) -> None:
    run, longer = train(model, epochs=1), train(model, name="longer", epochs=3)
    with pytest.raises(RegardError, match="at least 1"):
        regard.resume(run.folder, epochs=0)
    regard.resume(run.folder, epochs=3, verbose=False)
    assert [row["lr"] for row in table(run)[1:]] == [row["lr"] for row in table(longer)[1:]]
    config = json.loads((run.folder / "run.json").read_text())
    assert config["settings"]["epochs"] == 3
    assert config["changes"][0]["settings"] == {"epochs": [1, 3]}
    assert config["changes"][0]["after_epoch"] == 1
    regard.resume(run.folder, verbose=False)  # continues with what it was changed to
    assert len(table(run)) == 3
    with pytest.raises(RegardError, match="3 epochs are finished"):
        regard.resume(run.folder, epochs=2)
    with pytest.raises(RegardError, match=r"(?s)batch 4, not 3; recipe plain, not yolov5.*expected: .*epochs"):
        regard.resume(run.folder, batch=3, recipe="yolov5", imgsz=64, epochs=4)
    assert len(table(run)) == 3


def test_a_folder_with_a_run_is_rejected_before_anything_is_read(model: Detector, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RegardError, match="there is a run"):
        regard.train(model, "no-such-data", folder=tmp_path)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"output": "a"}, "'folder'"),
        ({"callback": []}, "'callbacks'"),
        ({"hyp": "yolov5"}, "'recipe'"),
        ({"epoch": 3}, "'epochs'"),
        ({"verbose": "no"}, "True or False"),
    ],
)
def test_arguments_that_the_command_line_calls_otherwise(
    model: Detector, tmp_path: Path, given: dict[str, object], answer: str
) -> None:
    with pytest.raises(RegardError, match=answer):
        regard.train(model, "no-such-data", **given)  # type: ignore[arg-type]
    with pytest.raises(RegardError, match=r"True or False|unknown argument"):
        regard.resume(tmp_path, **given)  # type: ignore[arg-type]
