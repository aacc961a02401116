from __future__ import annotations

import copy
from pathlib import Path

import parts
import torch
from roofline import image_files
from torch import nn


def test_both_sides_of_a_part_run(tmp_path: Path) -> None:
    files = image_files(None, tmp_path)[:2]
    found = [*parts.steps(1, 64), *parts.images(files, 64), *parts.updates(), *parts.validation(1, 64)]
    assert len({part.words for part in found}) == len(found) == 7
    for part in found:
        measured = parts.measure(part, 1)
        assert measured["before"][0] > 0
        assert measured["after"][0] > 0


def test_the_average_tensor_by_tensor() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)).double()
    average = copy.deepcopy(model)
    with torch.no_grad():
        model[0].weight += 1
        model[1].num_batches_tracked += 7
    expected = average[0].weight + 0.001
    parts.one_by_one(average, model)
    torch.testing.assert_close(average[0].weight, expected)
    assert average[1].num_batches_tracked == 7


def test_the_page_states_the_median_of_paired_ratios() -> None:
    machine = {"processor": "x86_64, 2 cores", "threads": 2, "torch": "2", "regard": "0"}
    row = {"before": [0.2, 0.4, 0.9], "after": [0.1, 0.1, 0.3], "load_before": 0.5}
    document = {"date": "2026-01-01", "machine": machine, "rows": {"a step: x": row}}
    assert "| a step: x | 400 | 100 | 3.00 (2.00 to 4.00) |" in parts.page(document, "python benchmarks/parts.py")
