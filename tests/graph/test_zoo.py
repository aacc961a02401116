"""The shipped graphs, against the published counts and the reference numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_edits import FILE, STOCK_N

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.read import parse_spec, read_spec, zoo
from regard.types import Predictions
from regard.weights.detector import load_detector

PUBLISHED = {"n": 1_872_157, "s": 7_235_389, "m": 21_190_557, "l": 46_563_709, "x": 86_749_405}


@pytest.mark.parametrize(("size", "parameters"), PUBLISHED.items())
def test_published_parameter_counts(size: str, parameters: int) -> None:
    detector = build(read_spec(f"yolov5{size}"))
    assert sum(p.numel() for p in detector.parameters()) == parameters
    assert detector.strides == (8, 16, 32)


@pytest.mark.parametrize("name", [name for name in zoo() if name[:7] in ("yolov5n", "yolov5s")])
def test_every_small_model_builds_and_survives_both_forms(name: str) -> None:
    detector = build(read_spec(name))
    assert detector.strides == {"6": (8, 16, 32, 64), "2": (4, 8, 16, 32)}.get(name[-1], (8, 16, 32))
    spec = detector.spec
    again = parse_spec(spec.to_yaml(), FILE)
    assert again == spec
    assert again.to_yaml() == spec.to_yaml()
    plain = build(parse_spec(spec.to_yolov5_yaml(ungated=True), FILE))
    assert [row.inputs for row in plain.spec.layers] == [row.inputs for row in spec.layers]
    shapes = {key.replace(".module.", "."): t.shape for key, t in detector.state_dict().items() if "gamma" not in key}
    assert {key: t.shape for key, t in plain.state_dict().items()} == shapes


@pytest.mark.parametrize("name", [name for name in zoo() if name.startswith("yolov5") and name[6] in "mlx"])
def test_large_models_differ_from_nano_in_depth_and_width_only(name: str) -> None:
    spec, nano = read_spec(name), read_spec(name.replace(name[6], "n", 1) if name[6] != "l" else f"yolov5n{name[7:]}")
    assert spec.layers == nano.layers
    assert spec.anchors == nano.anchors
    assert (spec.depth_multiple, spec.width_multiple) == {"m": (0.67, 0.75), "l": (1, 1), "x": (1.33, 1.25)}[name[6]]


def test_the_integer_file_of_the_publisher_is_the_stock_graph() -> None:
    assert parse_spec(STOCK_N, FILE) == read_spec("yolov5n")


def test_state_has_the_published_keys_and_shapes(shared: Path) -> None:
    wanted = json.loads((shared / "reference/yolov5n_state_dict_shapes.json").read_text())
    own = build(read_spec("yolov5n")).state_dict()
    assert {key: list(t.shape) for key, t in own.items()} == wanted


def test_decoded_outputs_equal_the_reference(shared: Path) -> None:
    reference = np.load(shared / "reference/raw_320.npz")
    detector = load_detector(shared / "weights/yolov5n.pt")
    image = torch.from_numpy(reference["input_uint8"])[None] / 255
    with torch.inference_mode():
        boxes, scores = detector(image)
        confidences = torch.cat([level.flatten(1, 3) for level in detector.raw(image)], dim=1)[..., 4:].sigmoid()
    parts = torch.cat((boxes, confidences), dim=2)[0].numpy()
    error = np.abs(parts - reference["decoded"]) / np.maximum(np.abs(reference["decoded"]), 1e-3)
    assert parts.shape == (6300, 85)
    assert error.max() < 1e-4
    torch.testing.assert_close(scores, confidences[..., :1] * confidences[..., 1:])
    assert len(detector.names) == 80


def test_summary_says_what_yolov5_users_know() -> None:
    summary = build(read_spec("yolov5n")).summary()
    assert summary.parameters == 1_872_157
    assert f"{summary.gflops:.1f}" == "4.5"
    assert "1,872,157 parameters, 4.5 GFLOPs" in str(summary)
    assert "1,872,157" in summary.to_markdown()
    row = json.loads(summary.to_json())["rows"][4]
    assert (row["name"], row["sources"], row["n"], row["module"], row["arguments"]) == ("p3", "-1", 2, "C3", "[64, 64]")
    assert row["output"] == [[64, 80, 80]]
    assert sum(r.share for r in summary.rows) == pytest.approx(1)
    assert summary.rows[-1].output == ((3, 80, 80, 85), (3, 40, 40, 85), (3, 20, 20, 85))


def test_summary_shows_gate_and_note() -> None:
    text = parse_spec("base: yolov5n\ninsert: [{after: p2, module: SE, args: {reduction: 64}}]\n", FILE)
    table = str(build(text).summary(64))
    assert "SE (gate 0)" in table
    assert "p2.se: 32 channels at reduction 64: one hidden unit" in table


def test_flops_of_se_and_its_gate_by_hand() -> None:
    text = "base: yolov5n\ninsert: [{after: p3, module: SE, args: {reduction: 16}, gate: true}]\n"
    row = build(parse_spec(text, FILE)).summary(64).rows[5]
    maps, hidden = 64 * 8 * 8, 4
    linear = 2 * 64 * hidden * 2
    assert row.flops == 2 * maps + linear + hidden + 64 + 3 * maps
    assert row.parameters == 2 * 64 * hidden + 1


def test_an_unsuitable_image_size_is_rejected() -> None:
    with pytest.raises(RegardError, match=r"image size 100\n.*multiple of 32 up to 16384, such as 96"):
        build(read_spec("yolov5n")).summary(100)


def test_training_mode_gives_raw_levels_and_classes_follow_nc() -> None:
    detector = build(read_spec("yolov5n").with_classes(3)).train()
    levels = detector(torch.zeros(2, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [(2, 3, 8, 12, 8), (2, 3, 4, 6, 8), (2, 3, 2, 3, 8)]
    predictions = detector.eval()(torch.zeros(0, 3, 64, 96))
    assert isinstance(predictions, Predictions)
    assert [x.shape for x in predictions] == [(0, 3 * (96 + 24 + 6), 4), (0, 3 * (96 + 24 + 6), 3)]
    with pytest.warns(DeprecationWarning, match="boxes and scores"):
        decoded = detector(torch.rand(2, 3, 64, 32)).decoded
    boxes, scores = detector(torch.rand(2, 3, 64, 32))
    assert decoded.shape == (2, boxes.shape[1], 5 + scores.shape[2])
    assert (decoded[..., 4] == 1).all()
