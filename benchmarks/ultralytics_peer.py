"""Ultralytics' own commands on a data set: training of a stock graph from random weights, and its detections' AP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bccd import SPLITS, Result, Study, give_font, score_rows, write_yolo

from regard.data.formats import load_data

COMMAND = """
import sys, torch
from ultralytics.cfg import entrypoint
if threads := int(sys.argv.pop(1)):
    torch.set_num_threads(threads)
    torch.set_num_threads = lambda count: None
entrypoint()
"""
"""Its command line with the threads that the study gives it: by itself, or with 0, it takes all cores but one."""


def training(study: Study, python: Path, family: str, seed: int, folder: Path) -> list[str]:
    """Its command that trains ``family`` into ``folder`` from random weights, with its defaults otherwise."""
    budget = {"epochs": study.epochs, "batch": study.batch, "imgsz": study.imgsz, "seed": seed}
    return command(study, python, "train", folder, model=f"{family}.yaml", pretrained=False, name="train", **budget)


def scores(study: Study, python: Path, folder: Path) -> dict[str, Result]:
    """Return, by split, the metrics of its detections by its best weights, as our evaluator measures them."""
    data, weights = load_data(study.data), folder / "train" / "weights" / "best.pt"
    found = {}
    for split in SPLITS:
        options: dict[str, Any] = {"split": split, "save_json": True, "name": split, "imgsz": study.imgsz}
        line = command(study, python, "val", folder, model=weights, **options)
        subprocess.run(line, check=True, env=environment(study), stdout=subprocess.DEVNULL)
        rows = json.loads((folder / split / "predictions.json").read_text())
        found[split] = score_rows(from_zero(rows, len(data.names)), data.splits[split], data.names)
    return found


def from_zero(rows: Sequence[dict[str, Any]], classes: int) -> list[dict[str, Any]]:
    """Rows of a results file whose class ids count from 0; its own count from 1, except in earlier releases."""
    first = int(max((row["category_id"] for row in rows), default=0) == classes)
    return [{**row, "category_id": row["category_id"] - first, "image_id": str(row["image_id"])} for row in rows]


def command(study: Study, python: Path, mode: str, folder: Path, **options: object) -> list[str]:
    """One of its commands on the study's data, written as it reads them."""
    description = study.work / "yolo" / "data.yaml"
    if not description.exists():
        write_yolo(load_data(study.data), description.parent)
    options = {"data": description, "project": folder, "exist_ok": True, "device": "cpu", **options}
    return [str(python), "-c", COMMAND, str(study.threads), "detect", mode, *(f"{k}={v}" for k, v in options.items())]


def environment(study: Study) -> dict[str, str]:
    """What its commands need in their environment, so that they ask no network for a font or a newer release."""
    home = study.work / "home"
    give_font(home / ".config" / "Ultralytics")
    return study.environment() | {"HOME": str(home), "YOLO_OFFLINE": "true"}
