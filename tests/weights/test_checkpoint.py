"""YOLOv5 checkpoints: the published one number by number, hand-edited ones, and those of other kinds."""

from __future__ import annotations

import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.weights.checkpoint import read_checkpoint

Define = Callable[[str], type[nn.Module]]
GRAPH = {"nc": 2, "anchors": [[10, 13]], "backbone": [[-1, 1, "Conv", [64]]], "head": [[[0], 1, "Detect", ["nc"]]]}


def model_of(define: Define, dotted: str = "models.yolo.DetectionModel", se: str = "models.common.SE") -> Any:
    """Build a small half-precision model of two plain rows, a repeated one and a head, and pickle-like attributes."""
    conv, attention, head = define("models.common.Conv")(), define(se)(), define("models.yolo.Detect")()
    conv.conv, conv.bn = nn.Conv2d(3, 5, 1, bias=False), nn.BatchNorm2d(5)
    attention.l1 = nn.Linear(5, 2, bias=False)
    attention.register_buffer("scratch", torch.zeros(3), persistent=False)
    attention.register_parameter("absent", None)
    head.m = nn.ModuleList([nn.Conv2d(5, 21, 1)])
    head.register_buffer("anchors", torch.tensor([[[1.25, 1.625], [2.0, 3.75], [4.125, 2.875]]]))
    head.stride = torch.tensor([8.0])
    model: Any = define(dotted)()
    model.model = nn.Sequential(conv, attention, nn.Sequential(define(se)(), define(se)()), head)
    model.yaml, model.names = GRAPH, ["ball", "cube"]
    return model.half()


def test_the_published_checkpoint_has_every_key_and_shape(shared: Path) -> None:
    checkpoint = read_checkpoint(shared / "weights" / "yolov5n.pt")
    expected = json.loads((shared / "reference" / "yolov5n_state_dict_shapes.json").read_text())
    assert len(expected) == 349
    assert {key: list(tensor.shape) for key, tensor in checkpoint.state.items()} == expected
    assert list(checkpoint.state) == list(expected)
    dtypes = {tensor.dtype for key, tensor in checkpoint.state.items() if "num_batches" not in key}
    assert dtypes == {torch.float32}
    assert checkpoint.epoch == -1
    assert (len(checkpoint.names), checkpoint.names[0], checkpoint.names[79]) == (80, "person", "toothbrush")
    assert checkpoint.anchors == (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    )
    assert checkpoint.module_classes[9] == "models.common.SPPF"
    assert set(checkpoint.module_classes) == set(range(25))
    assert checkpoint.yaml is not None
    assert checkpoint.yaml["width_multiple"] == 0.25
    head: Any = checkpoint.yaml["head"]
    assert head[-1] == [[17, 20, 23], 1, "Detect", ["nc", "anchors"]]
    assert json.loads(json.dumps(checkpoint.yaml)) == checkpoint.yaml


def test_the_published_numbers_are_those_of_the_file(shared: Path) -> None:
    """Find each tensor's storage by scanning the pickle for what follows its name, and decode the member by hand."""
    path = shared / "weights" / "yolov5n.pt"
    state = read_checkpoint(path).state
    with zipfile.ZipFile(path) as archive:
        first = struct.unpack("<1728e", archive.read("archive/data/0"))
        assert state["model.0.conv.weight"].flatten().tolist() == list(first)
        keys = storages(archive.read("archive/data.pkl"))
        floating = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        half = [key for kind, key in keys if kind == "HalfStorage"][: len(floating)]
        assert len(half) == len(set(half)) == len(floating) == 292
        for key, (name, tensor) in zip(half, floating.items(), strict=True):
            numbers = np.frombuffer(archive.read(f"archive/data/{key}"), "<f2")
            assert np.array_equal(tensor.flatten().numpy(), numbers.astype(np.float32)), name


def storages(pickle: bytes) -> list[tuple[str, str]]:
    """Return (type, key) of every storage in the order of the pickle, from its text arguments and memo alone."""
    found, memo, texts, last = [], {}, [], None
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in ("BINUNICODE", "GLOBAL"):
            texts.append(last := str(argument))
        elif opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument], last = last, None
        elif opcode.name in ("BINGET", "LONG_BINGET") and memo.get(argument):
            texts.append(memo[argument])
        elif opcode.name == "BINPERSID":
            kind, key = texts[-3].removeprefix("torch "), texts[-2]
            found.append((kind, key))
        else:
            last = None
    return found


def test_a_hand_edited_model(define: Define, tmp_path: Path) -> None:
    model = model_of(define)
    torch.save(
        {"epoch": 11, "model": model, "ema": None, "optimizer": {"state": {0: torch.ones(3)}}}, tmp_path / "e.pt"
    )
    checkpoint = read_checkpoint(tmp_path / "e.pt")
    expected: dict[str, Tensor] = model.state_dict()
    assert list(checkpoint.state) == list(expected)
    assert all(torch.equal(checkpoint.state[key], value.float()) for key, value in expected.items())
    assert "model.1.l1.weight" in checkpoint.state
    assert checkpoint.module_classes == {
        0: "models.common.Conv",
        1: "models.common.SE",
        2: "models.common.SE",
        3: "models.yolo.Detect",
    }
    assert checkpoint.yaml == GRAPH
    assert checkpoint.names == {0: "ball", 1: "cube"}
    assert checkpoint.anchors == (((10, 13), (16, 30), (33, 23)),)
    assert checkpoint.epoch == 11


def test_the_average_is_preferred(define: Define, tmp_path: Path) -> None:
    model, ema = model_of(define), model_of(define)
    torch.save({"model": model, "ema": ema}, tmp_path / "both.pt")
    state = read_checkpoint(tmp_path / "both.pt").state
    assert torch.equal(state["model.1.l1.weight"], ema.model[1].l1.weight.float())


@pytest.mark.parametrize("dotted", ["models.yolo.Model", "yolov5.models.yolo.DetectionModel", "__main__.MyModel"])
def test_other_names_of_the_detector(dotted: str, define: Define, tmp_path: Path) -> None:
    torch.save(model_of(define, dotted, se="__main__.SE"), tmp_path / "m.pt")
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    assert checkpoint.module_classes[1] == "__main__.SE"
    assert checkpoint.epoch is None


def test_names_as_a_dict_and_strange_values_in_the_graph(define: Define, tmp_path: Path) -> None:
    model = model_of(define)
    model.names = {0: "ball", 1: 7, "x": "y"}
    model.yaml = {**GRAPH, "anchors": torch.tensor([[1.5, 2.0]]), "path": tmp_path, "names": {0: "ball"}}
    del model.model[3].stride
    torch.save(model, tmp_path / "m.pt")
    checkpoint = read_checkpoint(tmp_path / "m.pt")
    assert checkpoint.names == {0: "ball", 1: "7"}
    assert checkpoint.anchors is None
    assert checkpoint.yaml is not None
    assert checkpoint.yaml["anchors"] == [[1.5, 2.0]]
    assert checkpoint.yaml["names"] == {0: "ball"}
    assert "inert 'pathlib" in str(checkpoint.yaml["path"])


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_plain_state_dict(wrapped: bool, define: Define, tmp_path: Path) -> None:
    state = model_of(define).state_dict()
    torch.save({"model": state, "epoch": 3} if wrapped else state, tmp_path / "s.pt")
    checkpoint = read_checkpoint(tmp_path / "s.pt")
    assert list(checkpoint.state) == list(state)
    assert checkpoint.state["model.0.conv.weight"].dtype == torch.float32
    assert checkpoint.yaml is None
    assert checkpoint.module_classes == {}
    assert checkpoint.epoch == (3 if wrapped else None)


@pytest.mark.parametrize(
    ("dotted", "yaml_file", "said"),
    [
        ("models.yolo.SegmentationModel", None, "a YOLOv5 segmentation model"),
        ("models.yolo.ClassificationModel", None, "a YOLOv5 classification model"),
        ("yolov5.models.yolo.SegmentationModel", None, "a YOLOv5 segmentation model"),
        ("ultralytics.nn.tasks.DetectionModel", "yolov5n.yaml", "with the head 'models.yolo.Detect'"),
        ("ultralytics.nn.tasks.PoseModel", "a/yolov8n-pose.yaml", "built from 'yolov8n-pose.yaml'"),
        ("ultralytics.nn.tasks.RTDETRDetectionModel", None, "for detection by RT-DETR"),
        ("ultralytics.nn.tasks.YOLOESegModel", "yolo11n.yaml", "for segmentation"),
        ("ultralytics.nn.tasks.FooModel", None, "not known to be a detector"),
        ("ultralytics.models.sam.modeling.SAM2Model", None, "a SAM model"),
        ("torchvision.models.resnet.ResNet", None, "a torchvision model"),
    ],
)
def test_models_of_other_kinds(dotted: str, yaml_file: str | None, said: str, define: Define, tmp_path: Path) -> None:
    model = model_of(define, dotted)
    model.yaml = {**GRAPH, "yaml_file": yaml_file} if yaml_file else GRAPH
    rejected({"model": model, "ema": None}, said, tmp_path)


@pytest.mark.parametrize(
    ("head", "said"),
    [("models.yolo.Segment", "a YOLOv5 segmentation model"), ("models.yolo.IDetect", "a YOLOv7 model")],
)
def test_heads_of_other_kinds(head: str, said: str, define: Define, tmp_path: Path) -> None:
    model = model_of(define)
    model.model.append(define(head)())
    rejected(model, said, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, "a checkpoint of another model"),
        ({"model.22.cv4.0.0.conv.weight": torch.ones(2)}, "YOLOv8 or later for another task"),
        ({"model.23.flow_model.weight": torch.ones(2)}, "YOLOv8 or later for another task"),
        ({"model.24.proto.cv1.conv.weight": torch.ones(2)}, "segmentation"),
        ({"model.9.linear.weight": torch.ones(2)}, "classification"),
        ({"model.105.ia.0.implicit": torch.ones(2)}, "YOLOv7"),
        ({"image_encoder.pos_embed": torch.ones(2)}, "SAM"),
        ({"model": {"image_encoder.trunk.pos_embed": torch.ones(2)}}, "SAM"),
        ({"ema": {"module": {"decoder.dec_score_head.0.weight": torch.ones(2)}}}, "RT-DETR"),
        ({"layer1.0.conv1.weight": torch.ones(2)}, "with the key 'layer1.0.conv1.weight'"),
        ({"model.0.conv.weight": 5}, "not an ordinary tensor"),
        ({"model": None, "ema": None}, "without a model"),
        ({}, "without a model"),
        ([1, 2], "without a model"),
        (torch.ones(2), "without a model"),
        (nn.Linear(2, 3), "without a graph and its layers"),
        ({"model.0.a": torch.ones(1).expand(4000, 4000)}, "repeat a few numbers"),
    ],
)
def test_contents_of_other_kinds(content: object, said: str, tmp_path: Path) -> None:
    rejected(content, said, tmp_path)


def test_graphs_and_modules_without_end(define: Define, tmp_path: Path) -> None:
    model = model_of(define)
    doubled: list[object] = []
    for _ in range(40):
        doubled = [doubled, doubled]
    model.yaml = {**GRAPH, "head": doubled}
    rejected(model, "graph is nested or repeated too often", tmp_path)
    model = model_of(define)
    model.model[1].itself = nn.Sequential()
    model.model[1].itself._modules["0"] = model.model[1]
    rejected(model, "modules are nested or repeated too often", tmp_path)


def rejected(content: object, said: str, folder: Path) -> None:
    path = folder / "other.pt"
    torch.save(content, path)
    with pytest.raises(RegardError) as caught:
        read_checkpoint(path)
    assert said in str(caught.value)
    assert "expected: a detection checkpoint of YOLOv5 v6" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match=r"release v7\.0 as `yolov5s.pt`; regard downloads nothing"):
        read_checkpoint(tmp_path / "yolov5s.pt")


def test_random_damage_is_one_clear_error(define: Define, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pt"
    torch.save({"model": model_of(define), "ema": None, "epoch": 1}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    honest = members[pickled]
    random.seed(2)
    rejected = 0
    for _ in range(300):
        data = bytearray(honest)
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**members, pickled: bytes(data)}.items():
                archive.writestr(name, content)
        try:
            read_checkpoint(path)
        except RegardError:
            rejected += 1
    assert 50 < rejected < 300
