from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import swap
from swap_page import best, draw, error, is_faster, page, sentences, written_out

from regard.nn.attention import ATTENTION


def place(level: str, measured: dict[str, list[float]], **changed: Any) -> dict[str, Any]:
    variants = {
        name: {"by_flops": 2.0, "by_time": 1.5, "measured": values, "milliseconds": 5.0}
        for name, values in measured.items()
    }
    row: dict[str, Any] = {"model": "yolov5n", "level": level, "imgsz": 640, "positions": 6400, "heads": 4}
    row |= {"free_bytes": 16 * 2**30, "bound_flops": 1.3, "bound_time": [1.4, 1.5, 1.6], "skipped": {}}
    row |= {"milliseconds": 10.0, "plain_milliseconds": 4.0, "load_before": 0.5, "variants": variants}
    return row | changed


ROWS = [
    place("p3", {"Slow": [1.1, 1.2, 1.3], "Quick": [3.0, 3.0, 3.0]}),
    place("p5", {"Slow": [0.9, 0.9, 0.9], "Quick": [0.95, 1.06, 1.2]}, bound_flops=1.01, bound_time=[0.99, 1.02, 1.03]),
]


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        (400, "4.9 MiB"),
        (6400, "1.22 GiB"),
        (16_000, "7.63 GiB"),
        (20_000, "11.92 GiB, does not fit in training"),
        (25_600, "19.53 GiB, does not fit"),
    ],
)
def test_scores_and_weights_of_all_heads_are_counted_as_if_written_out(positions: int, text: str) -> None:
    assert written_out(place("p3", {}, positions=positions)) == text


def test_a_swap_counts_as_faster_only_if_every_repeat_was_faster() -> None:
    name, variant = best(ROWS[0])
    assert name == "Quick"
    assert is_faster(variant)
    assert not is_faster(best(ROWS[1])[1])  # 1.06 in the median, but 0.95 once
    assert not is_faster({"measured": [1.01, 1.02, 1.03]})


def test_an_error_is_a_factor_in_either_direction() -> None:
    assert error([place("p3", {"A": [4.0], "B": [1.0], "C": [2.0]})], "by_flops") == pytest.approx(2)


def test_words_say_where_it_matters_and_how_often_the_advice_was_right() -> None:
    where, advice, predictions = sentences(ROWS)
    assert "at yolov5n P3 at 640 (3.00x, Quick). **It does not** at yolov5n P5 at 640 (1.06x, Quick)." in where
    assert "does at 1 of 2 places, at 1 of them rightly, and does not at 0" in advice
    assert "Of 4 swaps" in predictions
    assert "; 1 went beyond the bound" in predictions  # 3.0 at P3, where no more than 1.6 was predicted


def test_what_was_not_predicted_has_no_error(tmp_path: Path) -> None:
    row = place("p3", {"A": [4.0], "B": [3.0]})
    row["variants"]["B"]["by_time"] = None
    assert error([row], "by_time") == pytest.approx(4 / 1.5)
    machine = {"processor": "x86_64, 2 cores", "threads": 2, "torch": "2", "regard": "0"}
    document = {"date": "2026-01-02", "machine": machine, "rows": {"0": row}}
    assert "| B | 5.0 | 2.00 | - | 3.00 (3.00 to 3.00) |" in page(document, "")
    draw(document, tmp_path / "swap.png")


def test_page_and_image_have_every_swap(tmp_path: Path) -> None:
    rows = {str(i): row for i, row in enumerate(ROWS)}
    rows["2"] = place("p4", {"Slow": [1.0]}, skipped={"Greedy": "would hold 40.0 GiB"})
    machine = {"processor": "x86_64, 2 cores", "threads": 2, "torch": "2", "regard": "0"}
    document = {"date": "2026-01-02", "machine": machine, "rows": rows}
    text = page(document, "python benchmarks/swap.py")
    assert "| yolov5n P3 | 640 | Quick | 5.0 | 2.00 | 1.50 | 3.00 (3.00 to 3.00) |" in text
    assert text.index("P3 | 640 | Quick") < text.index("P3 | 640 | Slow")
    assert "| yolov5n P4 | 640 | Greedy | | | | not measured: would hold 40.0 GiB |" in text
    draw(document, tmp_path / "swap.png")
    assert (tmp_path / "swap.png").read_bytes().startswith(b"\x89PNG")


def test_all_variants_are_those_that_mix_positions() -> None:
    names = swap.all_variants()
    assert {"WindowAttention", "LinearAttention", "NystromAttention"} < set(names) < set(ATTENTION)
    assert swap.BASE not in names
    assert "SE" not in names
    assert "CBAM" not in names
