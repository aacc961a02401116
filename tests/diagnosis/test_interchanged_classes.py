"""Labels of val with the classes in another order, which only the trained model shows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_folders import Run

from regard.data.formats import load_data
from regard.diagnosis.case import Case
from regard.diagnosis.causes.classes import _interchanged, class_order
from regard.diagnosis.packages import read_run

HEALTHY = np.diag([9, 0, 7, 5, 0, 0])


def with_rows(**rows: list[int]) -> np.ndarray:
    changed = HEALTHY.copy()
    for name, row in rows.items():
        changed[int(name[1:])] = row
    return changed


@pytest.mark.parametrize(
    ("confusion", "found"),
    [
        (HEALTHY, {}),
        (np.zeros((0, 0), int), {}),
        (with_rows(r0=[0, 0, 9, 0, 0, 0], r2=[6, 0, 1, 0, 0, 0]), {0: 2, 2: 0}),
        (with_rows(r0=[0, 0, 4, 0, 0, 0], r2=[3, 0, 1, 0, 0, 0]), {}),  # too few
        (with_rows(r0=[0, 0, 9, 0, 0, 0]), {}),  # an error of the model, which knows class 2 too
        (with_rows(r0=[0, 0, 0, 0, 9, 0]), {}),  # one class is no order
        (with_rows(r0=[0, 0, 0, 0, 9, 0], r2=[0, 0, 0, 0, 0, 7]), {0: 4, 2: 5}),  # most boxes
        (with_rows(r0=[0, 0, 0, 0, 9, 0], r2=[0, 0, 0, 0, 7, 0]), {}),  # class 4 is what it always says
        (with_rows(r0=[0, 0, 5, 4, 0, 0], r2=[5, 0, 0, 2, 0, 0]), {0: 2, 2: 0}),
        (with_rows(r0=[3, 0, 4, 4, 0, 0], r2=[4, 0, 2, 4, 0, 0]), {}),  # unclear
        (with_rows(r0=[0, 0, 9, 0, 0, 0], r2=[0, 0, 0, 7, 0, 0], r3=[5, 0, 0, 0, 0, 0]), {0: 2, 2: 3, 3: 0}),
        # Real ones of a model of blood cells that takes the rare platelets for red cells.
        (np.array([[12, 29, 0], [400, 0, 0], [9, 0, 0]]), {0: 1, 1: 0}),
        (np.array([[12, 29, 0], [9, 0, 0], [400, 0, 0]]), {0: 1, 1: 2, 2: 0}),
        (np.array([[400, 0, 0], [9, 0, 0], [12, 29, 0]]), {1: 2, 2: 1}),
        (np.array([[400, 0, 0], [12, 29, 0], [9, 0, 0]]), {}),  # as they are
    ],
)
def test_classes_that_changed_places(confusion: np.ndarray, found: dict[int, int]) -> None:
    assert _interchanged(confusion) == found


@pytest.mark.parametrize("is_turned", [False, True])
def test_real_labels_in_another_order(is_turned: bool, shared: Path, tmp_path: Path) -> None:
    data = load_data(shared / "data/coco128")
    run = Run(tmp_path, "regard", imgsz=320)
    shutil.rmtree(run.data)
    for split, samples in (("train", data.splits["train"][:3]), ("val", data.splits["train"][40:80])):
        for sample in samples:
            image = Path(sample.image.name)
            label = Path(*("labels" if part == "images" else part for part in image.parts)).with_suffix(".txt")
            for file, kind in ((image, "images"), (label, "labels")):
                target = run.data / kind / split / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.is_file():
                    shutil.copy(file, target)
            if split == "val" and is_turned and target.is_file():
                rows = [line.split(maxsplit=1) for line in target.read_text().splitlines()]
                target.write_text("".join(f"{79 - int(class_id)} {rest}\n" for class_id, rest in rows))
    names = "\n".join(f"- {name}" for name in data.names)
    (run.data / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}\n")
    record = replace(read_run(run.write_texts()), weights=shared / "weights/yolov5n.pt", data_names=data.names)
    found = class_order(Case(record))
    if is_turned:
        assert found is not None
        assert "labels 'toothbrush'" in found.evidence
        assert "sees 'person'" in found.evidence
    else:
        assert found is None
    assert class_order(Case(record, images=False)) is None
