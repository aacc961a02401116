"""The page of training compared with a peer: ratios by seed, paired differences, and the time to the peer's AP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from ultralytics_peer import from_zero

from training import Start, page, seconds_to, validations

GOAL = {"ap": 0.4, "ap50": 0.7}


def run(seconds: float, ap: float, **more: Any) -> dict[str, Any]:
    scores = {split: {"ap": ap, "ap50": 2 * ap} for split in ("val", "test")}
    return {"seconds": seconds, "cpu": seconds, "megabytes": 100.0, "load": 1.0, "scores": scores, **more}


def study(folder: Path, family: str = "") -> Start:
    return Start(folder, Path("weights.pt"), folder, 5, 320, 16, 2, family)


def test_the_goal_is_both_measures() -> None:
    epochs = [(10.0, 0.5, 0.6), (20.0, 0.3, 0.8), (30.0, 0.4, 0.7), (40.0, 0.9, 0.9)]
    assert seconds_to({"epochs": epochs}, GOAL) == 30.0
    assert seconds_to({"epochs": epochs[:2]}, GOAL) is None


def test_a_page_with_a_goal(tmp_path: Path) -> None:
    mine = [run(20.0, 0.5, epochs=[(10.0, 0.45, 0.9)]), run(25.0, 0.6, epochs=[(20.0, 0.6, 0.9)])]
    runs = {"ours": mine, "theirs": [run(40.0, 0.3), run(75.0, 0.3)], "long": [run(90.0, 0.4, epochs=10)]}
    text = page(study(tmp_path), runs, 100)
    assert "before each: 1.0 to 1.0. Command: `python benchmarks/training.py --seeds 2`." in text
    assert "| seconds | 22.5 | 57.5 | 2.50 | 2.00 to 3.00 |" in text
    assert "The peer after 10 epochs (seed 0, 90 s): AP50 0.800, AP\n0.400 on val." in text
    assert "by seed, after 10 s, 20 s, 6.0 times as fast (median)." in text
    assert "val +0.250 (-0.385 to +0.885)." in text  # 12.706 standard errors of 0.05


def test_a_page_without_a_goal(tmp_path: Path) -> None:
    text = page(study(tmp_path), {"ours": [run(20.0, 0.5, epochs=[])], "theirs": [run(40.0, 0.3)]}, 100)
    assert "has both" not in text
    assert "paired" not in text


def test_a_page_of_a_family(tmp_path: Path) -> None:
    runs = {"ours": [run(20.0, 0.5, epochs=[])], "theirs": [run(40.0, 0.3)]}
    text = page(study(tmp_path, "yolo11n"), runs, 100)
    assert "compared with ultralytics 8.4" in text
    assert "\nyolo11n from random weights, 100 training images" in text
    assert "--family yolo11n" in text
    assert "weights.pt" not in text


@pytest.mark.parametrize("first", [0, 1])
def test_classes_of_a_results_file_count_from_zero(first: int) -> None:
    rows = [{"image_id": i, "category_id": c + first, "score": 0.5} for i, c in enumerate((0, 2, 1))]
    found = from_zero(rows, 3)
    assert [(row["image_id"], row["category_id"]) for row in found] == [("0", 0), ("1", 2), ("2", 1)]


def test_epochs_are_read_from_the_log(tmp_path: Path) -> None:
    writer = EventFileWriter(str(tmp_path))
    for step, values in ((1, (0.25, 0.5)), (2, (0.5, 0.75))):
        rows = [Summary.Value(tag=f"val/{n}", simple_value=v) for n, v in zip(("ap", "ap50"), values, strict=True)]
        writer.add_event(Event(step=step, wall_time=1000.0 + step, summary=Summary(value=rows)))
    writer.close()
    assert validations(tmp_path) == [(1001.0, 0.25, 0.5), (1002.0, 0.5, 0.75)]
