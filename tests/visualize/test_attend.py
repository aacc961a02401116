"""`regard.attend` and `regard attend`: the right layer, the right cell, and errors that say what to do."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import regard
from regard.cli import app
from regard.data.synthetic import scene
from regard.graph.detector import Detector
from regard.nn.capture import capture
from regard.types import AttentionMap
from regard.visualize.attend import attention_layers
from regard.visualize.gradient import GradientMap, choose_detection

IMAGE = scene(0, "val", 0).read()[:96]  # 128 wide, 96 high


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(0)
    model = regard.insert(regard.load("odd-one-out"), "MultiHeadSelfAttention", after="p4", name="p4.mha")
    model = regard.insert(model, "SE", after="p4.mha", name="p3.late")
    return regard.insert(model, "SE", after="p3", gate=False)


@pytest.fixture
def saved(model: Detector, tmp_path: Path) -> tuple[str, str]:
    regard.save(model, tmp_path / "m.safetensors")
    cv2.imwrite(str(tmp_path / "scene.png"), IMAGE[:, :, ::-1])
    return str(tmp_path / "m.safetensors"), str(tmp_path / "scene.png")


def _placed() -> Tensor:
    """Return the image as it lies on an input of 192 x 256."""
    resized = cv2.resize(IMAGE, (256, 192), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(resized).permute(2, 0, 1)[None] / 255


def test_layers_are_listed_in_order(model: Detector) -> None:
    listed = [(entry.name, entry.module, entry.channels, entry.stride) for entry in attention_layers(model)]
    assert listed == [("p3.se", "SE", 64, 8), ("p4.mha", "MultiHeadSelfAttention", 128, 16), ("p3.late", "SE", 128, 16)]


def test_the_map_is_that_of_the_queried_pixel(model: Detector) -> None:
    view = regard.attend(model, IMAGE, layer="p4.mha", query=(127, 1), imgsz=256)  # on an input of 192 x 256
    assert isinstance(view.map, AttentionMap)
    assert view.map.queries == ((0, 15),)
    with capture(model.named_layers()) as seen, torch.no_grad():
        model(_placed())
    assert torch.equal(view.map.weights, seen.map("p4.mha", (0, 15)).weights)
    assert view.title == "p4.mha  (MultiHeadSelfAttention, 12 x 16 positions), query at 127, 1"
    by_index = regard.attend(model, IMAGE, layer=model.spec.index("p4.mha"), imgsz=256)
    assert isinstance(by_index.map, AttentionMap)
    assert by_index.map.queries == ((6, 8),)
    assert by_index.query == (64, 48)


def test_the_only_attention_inside_a_layer_is_found_by_the_layer() -> None:
    detector = regard.load("yolo11n")
    assert regard.attend(detector, IMAGE, layer="psa", imgsz=64).layer.startswith("psa.")


def test_a_gradient_map_is_in_pixels_of_the_image(model: Detector) -> None:
    keen = copy.deepcopy(model)
    with torch.no_grad():
        keen.head.m[0].get_parameter("bias").view(3, -1)[:, 4:] = 3.0  # detects everywhere, so that the query decides
    view = regard.attend(keen, IMAGE, layer="p3", kind="gradient", query=(110, 10), imgsz=256)
    assert isinstance(view.map, GradientMap)
    assert view.map.cam.shape == (24, 32)
    assert view.box_xyxy is not None
    np.testing.assert_allclose(view.box_xyxy, (view.map.box_xyxy.numpy() / 2).clip(0, (128, 96, 128, 96)), atol=1e-4)
    with torch.no_grad():
        boxes, scores = (x[0] for x in keen.eval()(_placed()))
    row, _ = choose_detection(boxes, scores, point=(220.0, 20.0))
    centre = (view.map.box_xyxy[:2] + view.map.box_xyxy[2:]) / 2
    torch.testing.assert_close(centre, boxes[row, :2])
    other = regard.attend(model, IMAGE, layer=2, kind="gradient", of_class="class1", imgsz=128)
    assert isinstance(other.map, GradientMap)
    assert other.map.class_id == 1


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ({"layer": "p4.mah"}, "did you mean 'p4.mha'"),
        ({"layer": "p4"}, r"no attention to show[\s\S]*p3.se, p4.mha, p3.late[\s\S]*--kind gradient"),
        ({"layer": "p9", "kind": "gradient"}, "no layer is called 'p9'"),
        ({"layer": "p4.mha", "query": (128, 0)}, "outside the image of 128 x 96"),
        ({"layer": "p4.mha", "kind": "mop"}, "did you mean 'map'"),
        ({"layer": "p4", "kind": "gradient", "of_class": "class7"}, "unknown class 'class7'"),
        ({"layer": "p4", "kind": "gradient", "of_class": 2}, "unknown class '2'"),
        ({"layer": 99}, "no row 99"),
    ],
)
def test_mistakes_are_reported(model: Detector, options: dict[str, object], reported: str) -> None:
    with pytest.raises(regard.RegardError, match=reported):
        regard.attend(model, IMAGE, imgsz=128, **options)  # type: ignore[arg-type]


def test_one_image_at_a_time(model: Detector, tmp_path: Path) -> None:
    with pytest.raises(regard.RegardError, match="no such file"):
        regard.attend(model, tmp_path / "none.jpg", layer="p4.mha")
    with pytest.raises(regard.RegardError, match="not a single image"):
        regard.attend(model, [IMAGE, IMAGE], layer="p4.mha")


def test_the_command_lists_draws_and_rejects(saved: tuple[str, str], tmp_path: Path) -> None:
    weights, image = saved
    run = CliRunner().invoke
    listed = run(app, ["attend", weights]).stdout
    assert "p4.mha   MultiHeadSelfAttention, 128 channels, stride 16" in listed
    assert "--kind gradient" in listed
    out = tmp_path / "new" / "seen.png"
    done = run(app, ["attend", weights, image, "--layer", "p4.mha", "--query", "100,20", "-o", str(out)])
    assert done.exit_code == 0, done.exception
    assert str(out) in done.stdout
    assert cv2.imread(str(out)).shape[0] > 500
    for arguments, reported in (
        (["--layer", "p4.mha", "--query", "100"], "is not a point"),
        (["--layer", "p4.mha", "-o", "x.gif"], "expected: .png"),
    ):
        error = run(app, ["attend", weights, image, *arguments]).exception
        assert isinstance(error, regard.RegardError)
        assert reported in str(error)
    assert "no image is given" in str(run(app, ["attend", weights, "--layer", "p4.mha"]).exception)


def test_a_model_without_attention_says_so() -> None:
    assert "no attention layer" in CliRunner().invoke(app, ["attend", "odd-one-out"]).stdout
