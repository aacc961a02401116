from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scale
from multihead_page import page as multihead_page
from performance_page import page_of, processes_section, scale_section
from roofline import CROWD, Rates, Work, crowd, least, network_work

import regard
from regard.config import DetectSettings
from regard.data.formats import load_data
from regard.data.synthetic import scene
from regard.geometry.nms import suppress
from regard.graph.cost import row_costs

MACHINE = {"processor": "x86_64, 2 cores", "threads": 2, "torch": "2", "regard": "0"}
RATES = Rates(float32=100.0, bfloat16=400.0, copied=10.0, megapixels=5.0)


def test_each_layer_is_compared_with_the_limit_that_binds_it() -> None:
    work = Work(flops=(500.0, 100.0), moved=(20.0, 30.0))
    assert least(work, RATES) == (5 + 3, "float32 products")  # 5 against 2 seconds, 1 against 3
    lower = Work(flops=(500.0, 100.0), moved=(20.0, 30.0), precision="bfloat16")
    assert least(lower, RATES) == (2 + 3, "memory")
    assert least(Work(megapixels=15.0), RATES) == (3, "JPEG decoding")


def test_a_network_has_to_read_inputs_and_weights_and_to_write_outputs() -> None:
    detector = regard.load("odd-one-out")
    work = network_work(detector, 64, "float32")
    costs = row_costs(detector, 64)
    assert sum(work.flops) == sum(cost.flops for cost in costs)
    stem = 3 * 64 * 64 + 16 * 32 * 32 + (16 * 3 * 36 + 2 * 16)  # image, output, kernel and batch norm
    assert work.moved[0] == 4 * stem
    twice = network_work(detector, 64, "bfloat16", batch=3, passes=2)
    assert twice.flops[0] == 6 * work.flops[0]
    assert twice.moved[0] == 2 * 2 * (3 * (3 * 64 * 64 + 16 * 32 * 32) + 16 * 3 * 36 + 2 * 16)


def test_a_crowd_leaves_about_one_box_an_object() -> None:
    found = suppress(crowd(CROWD), DetectSettings())
    assert CROWD / 2 < len(found) <= CROWD * 2


def test_the_set_holds_the_drawn_scenes_and_can_be_written_twice(tmp_path: Path) -> None:
    for _ in range(2):
        scale.write_set(tmp_path, (3, 5))
    data = load_data(tmp_path / "train-3.yaml")
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 3, "val": scale.HELD_OUT}
    drawn, record = scene(0, "train", 2), data.splits["train"][2]
    np.testing.assert_allclose(record.boxes_cxcywh[:, 2] * 128, drawn.sides, atol=1e-3)
    np.testing.assert_array_equal(record.class_ids, drawn.is_square)
    assert abs(record.image.read().astype(int) - drawn.read()).mean() < 12  # a JPEG of it
    assert len(list((tmp_path / "folder-5").iterdir())) == 5
    assert len(load_data(tmp_path / "val-5.yaml").splits["val"]) == 5


def counted(count: int, seconds: float) -> dict[str, object]:
    return {"count": count, "seconds": {"val": [seconds, seconds, 9.0]}, "peak": 700.0, "load_before": 0.1}


@pytest.mark.parametrize(("last", "verdict"), [(40.0, "grows nowhere"), (60.0, "grows by more than 1.25x: validation")])
def test_growth_is_that_of_an_image(last: float, verdict: str) -> None:
    rows = {f"val {n}": counted(n, s) for n, s in ((100, 0.5), (1000, 2.0), (20_000, last))}
    settings = {"counts": [100, 1000, 20_000], "model": "odd-one-out", "imgsz": 64}
    rows["val 20000"]["seconds"] = {"val": [last]}
    lines = scale_section({"date": "2026-01-02", "machine": MACHINE, "settings": settings, "rows": rows})
    row = next(line for line in lines if line.startswith("| validation"))
    assert row == f"| validation | 5.00 | 2.00 | {last / 20:.2f} | {last / 40:.2f} | 700 | 700 | 700 |"
    assert any(verdict in line for line in lines)


def test_efficiency_is_the_rate_over_twice_that_of_one() -> None:
    rows = {"ddp 0": {"one": 10.0, "two": 15.0, "beside": 18.0}, "ddp 1": {"one": 20.0, "two": 36.0, "beside": 40.0}}
    lines = processes_section({"settings": {"ddp": [96, 320]}, "rows": rows})
    assert "| two processes, one training | 25.5 | 0.82 (0.75 to 0.90) |" in lines
    assert "| two separate runs | 29.0 | 0.95 (0.90 to 1.00) |" in lines


def test_the_page_is_made_of_what_is_there(tmp_path: Path) -> None:
    assert "GPU" in page_of(tmp_path)
    stage = {"name": "letterbox", "bound": "memory", "seconds": [0.004], "least": [0.002], "times": [2.0]}
    rows = {
        "stages": {"stages": [stage], "load_before": 0.0},
        "limits": {"words": {"memory": "9 GB/s"}, "load_before": 0},
    }
    document = {"date": "2026-01-02", "machine": MACHINE, "rows": rows}
    (tmp_path / "performance-roofline.json").write_text(json.dumps(document))
    text = page_of(tmp_path)
    assert "| letterbox | 4.00 | memory | 2.00 | 2.00 (2.00 to 2.00) |" in text
    assert "Growth" not in text


def test_multi_head_ratios_are_ours_over_theirs() -> None:
    theirs = "theirs, need_weights=False"
    row = {"level": "p3", "kind": "training", "precision": "shipped", "load_before": 0.0}
    row |= {"seconds": {"ours": [0.3, 0.4], theirs: [0.6, 0.5]}, "how": {"ours": "bf16", theirs: "32"}}
    row |= {"memory": {"ours": {"megabytes": 30.0}, theirs: {"megabytes": 120.0}}}
    document = {"date": "2026-01-02", "machine": MACHINE, "settings": {"imgsz": 640}, "rows": {"a": row}}
    text = multihead_page(document, "python benchmarks/multihead.py")
    expected = "| P3 | training | need_weights=False | 350.0 | 550.0 | 0.65 (0.50 to 0.80) | 30 | 120 | 0.25 |"
    assert expected in text
    assert "training: ours bf16; theirs 32." in text
    assert "Equal precision" not in text
