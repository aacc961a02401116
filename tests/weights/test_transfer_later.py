"""Transfer between graphs of YOLOv8 and later: no edit, level or number of classes loses a tensor that has a place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.edit import insert
from regard.graph.read import STOCK, read_spec
from regard.weights.detector import load_matching, rebuild, replace_classes

LATER = [name for name in STOCK if not name.startswith("yolov5")]
SAMPLE = (("yolov8n", 4), ("yolo11n", 10), ("yolo26n", 16))
ROWS = [(name, row) for name in LATER for row in range(len(read_spec(name).layers) - 1)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def scrambled(name: str) -> Detector:
    """A detector of which no tensor equals a fresh one by chance."""
    detector = build(read_spec(name))
    for tensor in detector.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 3 if tensor.is_floating_point() else torch.tensor(7))
    return detector


def check_insertion(name: str, after: int, *, gate: bool) -> None:
    base = scrambled(name)
    edited, report = rebuild(base, insert(base.spec, "SE", after=after, gate=gate))
    assert not report.unused
    assert not report.partly
    assert all(key.startswith(f"model.{after + 1}.") for key in report.initialised)
    own = edited.state_dict()
    for key, tensor in base.state_dict().items():
        _, row, path = key.split(".", 2)
        assert torch.equal(own[f"model.{int(row) + (int(row) > after)}.{path}"], tensor), key


@pytest.mark.parametrize(("name", "after"), SAMPLE)
def test_an_insertion_keeps_every_tensor(name: str, after: int) -> None:
    check_insertion(name, after, gate=bool(after % 3))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "after"), ROWS)
def test_an_insertion_anywhere_keeps_every_tensor(name: str, after: int) -> None:
    if read_spec(name).layers[after].module != "CBLinear":  # gives several maps, which no layer but CBFuse reads
        check_insertion(name, after, gate=bool(after % 2))


@pytest.mark.parametrize("name", ["yolov8n", "yolov10n"])
def test_other_classes_keep_the_width_of_the_class_branch(name: str) -> None:
    base = scrambled(name)
    target, report = replace_classes(base, {0: "new", 1: "class41", 2: "class7"})
    assert (report.initialised, report.unused) == ((), ())
    old, new = base.head.state_dict(), target.head.state_dict()
    last = [key for key in new if key.endswith(("cv3.0.2.weight", "cv3.1.2.weight", "cv3.2.2.bias"))]
    assert len(last) == (6 if name == "yolov10n" else 3)
    for key in last:
        assert torch.equal(new[key][1], old[key][41])
        assert torch.equal(new[key][2], old[key][7])
    again, report = replace_classes(target, base.names)
    assert (report.initialised, report.unused) == ((), ())
    assert [t.shape for t in again.state_dict().values()] == [t.shape for t in base.state_dict().values()]


def test_a_graph_of_other_classes_takes_the_width_of_its_weights() -> None:
    fine_tuned, _ = replace_classes(scrambled("yolov8n"), {0: "new", 1: "class41"})
    target, report = load_matching(build(insert(read_spec("yolov8n"), "SE", after="sppf")), fine_tuned)
    assert report.unused == ()
    assert target.nc == 2
    assert torch.equal(
        target.head.state_dict()["cv3.1.1.conv.weight"], fine_tuned.head.state_dict()["cv3.1.1.conv.weight"]
    )


def test_a_finer_level_keeps_all_of_the_others() -> None:
    base = scrambled("yolov8n")
    target, report = load_matching(build(read_spec("yolov8n-p2")), base)
    assert (len(report.kept) + len(report.moved), report.partly, report.unused) == (len(base.state_dict()), {}, ())
    assert {report.layer_of[key] for key in report.initialised} == {
        "head.p2_out",
        "head.p3_down",
        "head.p3_out",
        "detect",
    }
    own, other = base.head.state_dict(), target.head.state_dict()
    for branch in ("cv2", "cv3"):
        for level in range(3):  # strides 8, 16, 32, which are levels 1 to 3 there
            key = "1.conv.weight"
            assert torch.equal(other[f"{branch}.{level + 1}.{key}"], own[f"{branch}.{level}.{key}"])
        assert not torch.equal(other[f"{branch}.0.1.bn.bias"], own[f"{branch}.0.1.bn.bias"])
    assert "head.p2_out: 24 new tensors" in report.to_text()
    back, report = load_matching(build(read_spec("yolov8n")), target)
    assert report.initialised == ()
    assert all(torch.equal(a, b) for a, b in zip(back.state_dict().values(), base.state_dict().values(), strict=True))
