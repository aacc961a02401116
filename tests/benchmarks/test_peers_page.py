from __future__ import annotations

from peers_page import page


def side(value: float, megabytes: float = 0.0) -> dict[str, float]:
    return {"value": value, "cpu": 2 * value, "megabytes": megabytes}


def test_a_ratio_is_the_median_of_rounds_measured_in_turn() -> None:
    load = {"load": {"before": 1.0}}
    rounds = {
        "predict": [{"ours": side(a), "theirs": side(b)} | load for a, b in ((10.0, 20.0), (5.0, 20.0), (10.0, 30.0))],
        "validation": [{"ours": side(4.0, 100.0), "theirs": side(8.0, 250.0)} | load],
    }
    detections = {"detections": 7, "without_counterpart": 2, "pixels": 0.25, "score": 0.001}
    found = {
        "first run ever, with compiling": {"value": 3.21},
        "detections at 640": detections,
        "detections at 320": detections | {"detections": 11},
        "AP on the data by one evaluator": {"ours": 0.5, "theirs": 0.25},
        "--precision auto": {"float32": 0.5, "bfloat16": 0.499, "lower": 1.0},
    }
    text = page("them 1", "weights", 128, {"predict": "ms", "validation": "s"}, {"found": found, "rounds": rounds})
    assert "| predict | 10 ms | 20 ms | 3.00 | 2.00 to 4.00 | 3.00 | 3 |" in text
    assert "| validation | 4 s | 8 s | 2.00 | 2.00 to 2.00 | 2.00 | 1 |" in text
    assert "| peak memory in validation | 100 MB | 250 MB | 2.50 | 2.50 to 2.50 |  | 1 |" in text
    assert "Load average before each measurement:\n1.0 to 1.0.\n" in text
    assert "Command: `python benchmarks/peers.py --images 128 --rounds 3`." in text
    assert "at 320: 11, of which 2 without" in text
    assert "ours 0.50000, theirs 0.25000" in text
    assert "- `--precision auto` used bfloat16: AP 0.5000 in float32, 0.4990 in bfloat16." in text
