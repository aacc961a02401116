from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch

from regard.config import LossSettings
from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import read_spec
from regard.graph.user_modules import import_modules
from regard.nn.heads import LossContext, YOLOv5Head
from regard.types import Targets
from regard.weights.detector import load_detector, save_detector

FILE = Path(__file__).with_name("fork_heads.py")
ANCHORS = [[11.0, 13.0, 17.0, 23.0], [29.0, 31.0, 37.0, 41.0]]
STRIDES = (2, 4)


def made(folder: Path, head: str, args: str = "nc, anchors") -> Detector:
    file = folder / f"{head}.yaml"
    file.write_text(
        f"nc: 3\ndepth_multiple: 1.0\nwidth_multiple: 1.0\nanchors: {ANCHORS}\nbackbone:\n"
        "- [-1, 1, Conv, [8, 3, 2]]\n- [-1, 1, Conv, [16, 3, 2]]\nhead:\n"
        f"- [[0, 1], 1, {head}, [{args}]]\n"
    )
    return build(read_spec(file), modules=import_modules([str(FILE)]))


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    return made(tmp_path, "TupleHead")


def test_a_forks_head_decodes_as_it_does_itself(detector: Detector) -> None:
    maps = [torch.randn(2, 8, 14, 22), torch.randn(2, 16, 7, 11)]
    own = detector.user_modules["TupleHead"](3, ANCHORS, [8, 16]).eval()
    own.load_state_dict(detector.head.state_dict())
    own.stride = torch.tensor(STRIDES).float()
    boxes, scores = detector.head.decode(detector.head(maps))
    with torch.no_grad():
        rows, raw = own(list(maps))
        torch.testing.assert_close(boxes, rows[..., :4])
        torch.testing.assert_close(scores, rows[..., 4:5] * rows[..., 5:])
        outputs = detector.head.outputs(maps)  # type: ignore[operator]
    for level, out in zip(raw, outputs, strict=True):
        torch.testing.assert_close(level.permute(0, 1, 4, 2, 3).flatten(1, 2), out)


def test_its_loss_is_that_of_the_packages_head(detector: Detector) -> None:
    stock = YOLOv5Head([8, 16], 3, ANCHORS, strides=STRIDES)
    stock.load_state_dict(detector.head.state_dict())
    maps = [torch.randn(2, 8, 14, 14), torch.randn(2, 16, 7, 7)]
    targets = Targets(torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([[0.5, 0.4, 0.6, 0.7]] * 2))
    context = LossContext(LossSettings(), 28)
    mine, other = (head.criterion(head(maps), targets, context) for head in (detector.head, stock))
    torch.testing.assert_close(mine, other)


def test_it_starts_from_few_objects_as_the_packages_head_does(detector: Detector) -> None:
    bias = detector.head.get_parameter("m.0.bias").view(2, 8)
    assert bias[:, 4].max() < -4


def test_copies_pickles_and_modes_keep_it(detector: Detector) -> None:
    x = torch.rand(1, 3, 20, 28)
    for other in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        other.train()
        other.eval()
        other.head.get_parameter("m.0.weight").data += 0.5
        assert not torch.equal(other(x).boxes, detector(x).boxes)
        other.head.get_parameter("m.0.weight").data -= 0.5
        torch.testing.assert_close(other(x).boxes, detector(x).boxes, rtol=1e-4, atol=1e-4)


def test_a_trained_one_is_saved_and_loaded_with_its_own_file(detector: Detector, tmp_path: Path) -> None:
    detector.head.get_buffer("anchors").mul_(1.5)
    save_detector(tmp_path / "fork.safetensors", detector)
    again = load_detector(tmp_path / "fork.safetensors", modules=import_modules([str(FILE)]))
    x = torch.rand(1, 3, 20, 28)
    torch.testing.assert_close(again(x).boxes, detector(x).boxes)


def test_raw_outputs_alone_are_read_as_yolov5s_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(RegardWarning, match="ListHead"):
        detector = made(tmp_path, "ListHead", "nc, anchors, 5")
    detector.train()
    levels = detector(torch.rand(2, 3, 20, 28))
    assert [tuple(y.shape) for y in levels] == [(2, 2, 10, 14, 8), (2, 2, 5, 7, 8)]
    sum(y.sum() for y in levels).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in detector.parameters())


@pytest.mark.parametrize("head", ["OtherDecoding", "TooFewLevels", "Raises"])
def test_another_head_is_rejected_with_the_contract_and_its_file(head: str, tmp_path: Path) -> None:
    args = "nc, anchors" if head == "OtherDecoding" else "nc, anchors, 5"
    with pytest.raises(RegardError) as caught:
        made(tmp_path, head, args)
    assert FILE.name in str(caught.value)
    assert "nc" in (caught.value.expected or "")
    assert caught.value.line == 9


@pytest.mark.parametrize("args", ["nc", "nc, 5", "nc, anchors, 5, 7, 11"])
def test_arguments_that_the_class_does_not_take(args: str, tmp_path: Path) -> None:
    with pytest.raises(RegardError) as caught:
        made(tmp_path, "ListHead", args)
    assert caught.value.line == 9
