"""A data set in numbers, and the images behind its problems."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from regard.data.check import check_data
from regard.data.formats import load_data
from regard.data.statistics import COUNTS, SIDES, images_of, statistics


def test_counts_against_a_slow_count() -> None:
    data = load_data("synthetic:context?train=11&val=5&test=0")
    found = statistics(data)
    for split, samples in data.splits.items():
        assert found.images[split] == len(samples)
        classes = Counter(int(k) for sample in samples for k in sample.class_ids)
        assert found.classes.counts[split] == tuple(classes[k] for k in range(len(data.names)))
        sizes = Counter(
            sum((w * h) ** 0.5 >= low for low in SIDES) - 1 for sample in samples for _, _, w, h in sample.boxes_cxcywh
        )
        assert found.sizes.counts[split] == tuple(sizes[k] for k in range(len(SIDES) - 1))
        objects = Counter(sum(len(sample.class_ids) >= low for low in COUNTS) - 1 for sample in samples)
        assert found.objects.counts[split] == tuple(objects[k] for k in range(len(COUNTS)))
    assert found.sizes.labels[:2] == ("0–1 %", "1–2 %")
    assert found.objects.labels == ("0", "1", "2", "3–4", "5–8", "9–16", "17–32", "33 or more")


def test_problems_lead_to_their_images(tmp_path: Path) -> None:
    for name, label in (("a", "0 0.5 0.5 0 0"), ("b", "0 0.5 0.5 0.25 0.25"), ("c", "")):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels").mkdir(exist_ok=True)
        pixels = np.full((32, 48, 3), 10 if name == "c" else 90, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), pixels)
        (tmp_path / "labels" / f"{name}.txt").write_text(label)
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [x]\n")
    data = load_data(tmp_path)
    report = check_data(data)
    found = {
        problem.kind: image and Path(data.splits[image[0]][image[1]].image.name).name
        for problem, image in zip(report.problems, images_of(report.problems, data), strict=True)
    }
    assert found["zero-area box"] == "a.png"
    assert found["duplicate image"] == "b.png"
    assert found["splits overlap"] is None
