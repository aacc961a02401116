"""Checkpoints that were saved after ``model.fuse()``: the same outputs, or an error that names the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.nn.conv import SummedBranches
from regard.nn.fuse import fuse
from regard.weights.detector import load_detector
from regard.weights.fused import unfused

Define = Callable[[str], type[nn.Module]]

GRAPH = """
nc: 2
anchors: 3
backbone:
  - [-1, 1, Conv, [16, 6, 2, 2]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 2, {block}]
  - [-1, 1, CBAM, []]
head:
  - [[3], 1, Detect, [nc, anchors]]
"""
BLOCKS = (
    "C3, [24]",
    "RepConv, [24]",
    "RepVGGBlock, [24]",
    "RepVGGBlock, [32]",
    "RepC3, [24]",
    "C2fCIB, [24, True, True]",
)


def detector_with(block: str) -> Detector:
    torch.manual_seed(3)
    detector = build(parse_spec(GRAPH.replace("{block}", block), None))
    for tensor in detector.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    return detector


def fused_state(detector: Detector) -> dict[str, Tensor]:
    """Tensors as other projects keep them, whose merged convolution is called conv."""
    return {key.replace(".merged.", ".conv."): value for key, value in fuse(detector).state_dict().items()}


def boxes(detector: Detector) -> Tensor:
    torch.manual_seed(5)
    found: Tensor = detector.eval()(torch.rand(1, 3, 64, 64)).boxes
    return found


@pytest.mark.parametrize("block", BLOCKS)
def test_fused_tensors_compute_the_same_and_can_be_fused_again(block: str) -> None:
    detector, empty = detector_with(block), detector_with(block)
    state = fused_state(detector)
    assert not any(".bn." in key for key in state)
    empty.load_state_dict(unfused(empty, state))
    torch.testing.assert_close(boxes(empty), boxes(detector), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(boxes(fuse(empty)), boxes(detector), rtol=1e-5, atol=1e-4)
    if "Rep" in block:
        assert any(isinstance(module, SummedBranches) for module in empty.modules())


def test_tensors_that_were_not_fused_are_left_as_they_are() -> None:
    detector = detector_with("RepVGGBlock, [24]")
    state = detector.state_dict()
    assert unfused(detector, state).keys() == state.keys()
    del state["model.3.conv.weight"]  # what attention of another project may call otherwise
    assert unfused(detector, state).keys() == state.keys()


def test_a_fused_checkpoint_is_loaded(define: Define, tmp_path: Path) -> None:
    detector = load_detector("yolov5n")
    fused: Any = fuse(detector)
    document = yaml.safe_load(detector.spec.to_yolov5_yaml())
    model: Any = define("models.yolo.DetectionModel")()
    model.model, model.names = nn.Sequential(*fused.model), {0: "ball"} | {i: f"thing{i}" for i in range(1, 80)}
    model.yaml = document
    for part in model.modules():
        if hasattr(part, "bn"):
            del part.bn
            part.forward = part.extra_repr  # pickled as a bound method, as Ultralytics' forward_fuse is
    torch.save({"model": model}, tmp_path / "fused.pt")
    loaded = load_detector(tmp_path / "fused.pt")
    torch.testing.assert_close(boxes(loaded), boxes(detector), rtol=1e-5, atol=1e-4)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    torch.testing.assert_close(boxes(load_detector(tmp_path / "state.pt")), boxes(detector), rtol=1e-5, atol=1e-4)


def test_a_head_without_its_other_branch_is_rejected_by_name() -> None:
    detector = load_detector("yolo26n")
    state = {
        key: value
        for key, value in fused_state(detector).items()
        if not key.startswith(("model.23.cv2", "model.23.cv3"))
    }
    with pytest.raises(RegardError, match=r"saved after model.fuse\(\), which removed model\.23\.cv2"):
        unfused(detector, state)
