"""Images that are both trained on and measured on are found, and reported with the verdict."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_study import fake_study
from rich.console import Console
from tiny_studies import Here, tiny_plan

from regard.ablate.data import also_trained_on, overlap_lines
from regard.ablate.power_analysis import Probe, dry_run
from regard.ablate.report import Extras, build
from regard.ablate.study import run_study
from regard.data.dataset import Sample
from regard.data.formats import load_data
from regard.data.images import ImageFile

NOTHING = (np.zeros((0, 4)), np.zeros(0, np.int64), 0)


def record(path: Path, content: bytes) -> Sample:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return Sample(ImageFile(path), *NOTHING)


def test_the_same_path_and_the_same_content_are_the_same_image(tmp_path: Path) -> None:
    train = [record(tmp_path / f"{i}.png", content) for i, content in enumerate((b"one", b"two", b"three"))]
    (tmp_path / "link.png").symlink_to(tmp_path / "1.png")
    other = [
        record(tmp_path / "copy.png", b"three"),
        Sample(ImageFile(tmp_path / "link.png"), *NOTHING),
        record(tmp_path / "new.png", b"six"),  # as long as others
        record(tmp_path / "longer.png", b"something"),
    ]
    assert also_trained_on(train, other) == 2
    assert also_trained_on(train, train) == 3
    assert also_trained_on([], other) == 0


def test_drawn_scenes_are_apart_by_split() -> None:
    data = load_data("synthetic:context?train=5&val=3&test=2")
    assert overlap_lines(data) == []
    shared = replace(data, splits={**data.splits, "val": data.splits["train"][:2] + data.splits["val"]})
    (line,) = overlap_lines(shared)
    assert line.startswith("2 of the 5 images of val are also trained on:")


def undivided_data(folder: Path) -> Path:
    """Return the folder of a YOLO data set whose val is its train."""
    rng = np.random.default_rng(3)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(7):
        cv2.imwrite(str(folder / "images" / f"{i}.png"), rng.integers(0, 255, (61, 67, 3), dtype=np.uint8))
        (folder / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.3 0.4\n")
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images\nval: images\nnames: [thing]\n")
    return folder / "data.yaml"


def test_a_study_says_so_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    reported = "all 7 images of val are also trained on"
    plan = tiny_plan(data=str(undivided_data(tmp_path / "data")), control="none", seeds=[0])
    printed = io.StringIO()
    study = run_study(plan, tmp_path / "study", executor=Here(), console=Console(file=printed, width=200))
    assert reported in printed.getvalue()
    assert reported in str(build(study, Extras()).sections[0])
    nothing = Probe({"base": 1.0}, {"base": 1.0}, 1.0, 1.0, {}, 1.0, {})
    monkeypatch.setattr("regard.ablate.power_analysis.probe", lambda *_: nothing)
    dry_run(plan, Console(file=printed, width=200), processes=1)
    assert printed.getvalue().count(reported) == 2


def test_the_report_of_a_study_whose_splits_are_apart(tmp_path: Path) -> None:
    assert "also trained on" not in str(build(fake_study(tmp_path), Extras()).sections[0])
