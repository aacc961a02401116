"""Detectors written for other packages: what these read is read back, and what they cannot build is rejected."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

import regard
from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.edit import insert
from regard.graph.read import parse_spec, read_spec, zoo
from regard.nn import gate
from regard.nn.attention import ATTENTION
from regard.nn.table import LAYERS
from regard.weights.convert import convert, fill

GRAPH = """
nc: 3
scales:
  n: [0.5, 0.25, 512]
backbone:
  - [-1, 1, Conv, [64, 3, 4]]
  - [-1, 2, {block}, [{args}]]
head:
  - [-1, 1, Conv, [96, 3, 2]]
  - [[1, 2], 1, Detect, [nc]]
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(block: str = "C2f", args: str = "128, True", **changes: str) -> Detector:
    text = GRAPH.format(block=block, args=args)
    for key, value in changes.items():
        text = f"{key}: {value}\n{text}"
    return scrambled(build(parse_spec(text, None)))


def scrambled(detector: Detector) -> Detector:
    for key, tensor in detector.state_dict().items():
        if tensor.is_floating_point() and not key.endswith(("anchors", "dfl.conv.weight")):
            tensor += (torch.rand(tensor.shape) - 0.5) * 0.05
    return detector


def check_read_back(detector: Detector, folder: Path, to: str) -> None:
    """Read the graph from the YAML alone, and load the tensors into it by their keys."""
    graph, weights = convert(detector, to, folder).files
    state = load_file(weights)
    again = build(read_spec(graph))
    again.load_state_dict(state)
    own = detector.state_dict()
    assert list(again.state_dict()) == list(own)
    assert all(torch.equal(tensor, own[key]) for key, tensor in again.state_dict().items())
    x = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        expected = detector.eval()(x)
        assert torch.equal(again.eval()(x).scores, expected.scores)
        assert torch.equal(regard.load(weights)(x).boxes, expected.boxes)
    assert expected.boxes.isfinite().all()
    assert yaml.safe_load(graph.read_text())["names"] == detector.names


@pytest.mark.parametrize("name", ["yolov5n", "yolo26n"])
def test_graphs_and_tensors_are_read_back(tmp_path: Path, name: str) -> None:
    detector = scrambled(build(read_spec(name)))
    check_read_back(detector, tmp_path, "yolov5" if detector.spec.anchors else "ultralytics")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo() if name[-1] not in "lx" and not name.startswith("odd")])
def test_every_graph_of_the_zoo_is_read_back(tmp_path: Path, name: str) -> None:
    detector = build(read_spec(name))
    check_read_back(detector, tmp_path, "yolov5" if detector.spec.anchors else "ultralytics")


@pytest.mark.parametrize(
    ("block", "args"), [("BottleneckCSP", "128"), ("Bottleneck", "64"), ("C2fCIB", "128, True, True"), ("C3TR", "64")]
)
def test_blocks_are_read_back(tmp_path: Path, block: str, args: str) -> None:
    detector = small(block, args)
    check_read_back(detector, tmp_path, "ultralytics")
    kernels = [m.kernel_size for n, m in detector.named_modules() if n.endswith("1.0.m.0.cv1.conv")]
    assert all(size == (3, 3) for size in kernels)


def test_activation_is_written(tmp_path: Path) -> None:
    detector = small(activation="nn.LeakyReLU(0.2)")
    check_read_back(detector, tmp_path, "ultralytics")
    assert "LeakyReLU(0.2)" in detector.spec.to_ultralytics_yaml()


@pytest.mark.filterwarnings("ignore:.*epsilon")
@pytest.mark.parametrize("behind_gate", [False, True])
@pytest.mark.parametrize("to", ["ultralytics", "yolov5"])
def test_layers_that_the_package_lacks_are_called_with_the_arguments_of_their_class(
    tmp_path: Path, to: str, behind_gate: bool
) -> None:
    base = read_spec("yolov5n" if to == "yolov5" else "yolov8n")
    after = base.layers[0].name
    chosen = [name for name in ATTENTION if behind_gate or name != "Linformer"]
    for i, name in enumerate(chosen):  # one after another on a small map
        base = insert(base, name, after="p5" if i == 0 else after, gate=behind_gate, name=f"a{i}")
        after = f"a{i}"
    detector = build(base)
    converted = convert(detector, to, tmp_path)
    rows = yaml.safe_load(converted.files[0].read_text())
    assert len(converted.classes) == len(chosen)
    by_class = {row[2]: row[3] for row in rows["backbone"]}
    for name, layers in converted.classes.items():
        made = (getattr(gate, name) if behind_gate else LAYERS[name])(*by_class[name])
        ours = detector.layer(layers[0]).state_dict()
        assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in ours.items()}
    again = build(read_spec(converted.files[0]))
    assert [layer.gate or None for layer in again.spec.layers] == [layer.gate or None for layer in detector.spec.layers]
    again.load_state_dict(load_file(converted.files[1]))


def test_a_tensor_of_a_name_that_builders_set_is_rejected_without_a_gate(tmp_path: Path) -> None:
    spec = read_spec("yolov8n")
    for behind_gate in (True, False):
        detector = build(insert(spec, "Linformer", after="p5", gate=behind_gate))
        if behind_gate:
            assert list(convert(detector, "ultralytics", tmp_path).classes) == ["GatedLinformer"]
        else:
            with pytest.raises(RegardError, match="'f'"):
                convert(detector, "ultralytics", tmp_path)


def test_a_gated_class_can_be_pickled_by_its_name() -> None:
    layer = gate.GatedSE(16)
    assert type(pickle.loads(pickle.dumps(layer))) is type(layer)
    with pytest.raises(AttributeError):
        _ = gate.GatedNothing


def test_options_between_which_defaults_lie_are_written_by_position(tmp_path: Path) -> None:
    spec = insert(read_spec("yolov8n"), "CBAM", after="sppf", options={"kernel_size": 3}, gate=False)
    detector = build(spec)
    converted = convert(detector, "ultralytics", tmp_path)
    rows = yaml.safe_load(converted.files[0].read_text())["backbone"]
    made = LAYERS["CBAM"](*next(row[3] for row in rows if row[2] == "CBAM"))
    ours = detector.layer("sppf.cbam").state_dict()
    assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in ours.items()}


@pytest.mark.parametrize(
    ("block", "args"),
    [("CIB", "128"), ("Conv", "128, 3"), ("RepConv", "64"), ("VoVGSCSP", "128"), ("nn.PixelShuffle", "2")],
)
def test_what_the_package_cannot_build_is_rejected(tmp_path: Path, block: str, args: str) -> None:
    text = GRAPH.format(block=block, args=args).replace("0.5, 0.25", "1, 0.25")
    with pytest.raises(RegardError, match=block):
        convert(build(parse_spec(text, None)), "ultralytics", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_head_unlike_the_rules_of_its_graph_is_rejected(tmp_path: Path) -> None:
    spec = small().spec
    head = replace(spec.layers[-1], options={"depthwise": True})
    with pytest.raises(RegardError, match="depth-wise"):
        convert(build(replace(spec, layers=(*spec.layers[:-1], head))), "ultralytics", tmp_path)


@pytest.mark.parametrize(("name", "to"), [("yolov5n", "ultralytics"), ("yolov8n", "yolov5"), ("yolov8n", "nothing")])
def test_forms_of_other_families_are_rejected(tmp_path: Path, name: str, to: str) -> None:
    with pytest.raises(RegardError):
        convert(build(read_spec(name)), to, tmp_path)


@pytest.mark.parametrize("name", ["yolo11m.safetensors", "model.onnx", "model.yaml"])
def test_names_that_mean_something_else_are_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegardError):
        convert(small("C3k2", "128, False"), "ultralytics", tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "c3k"), [("yolo11s.safetensors", "False"), ("yolo11m.safetensors", "True")])
def test_the_size_in_the_name_is_the_one_that_is_written(tmp_path: Path, name: str, c3k: str) -> None:
    detector = small("C3k2", f"128, {c3k}")
    graph, weights = convert(detector, "ultralytics", tmp_path / name).files
    again = build(read_spec(graph))
    again.load_state_dict(load_file(weights))
    assert again.spec.width_multiple == detector.spec.width_multiple


def test_a_wider_head_is_filled_in(tmp_path: Path) -> None:
    spec = small().spec
    head = replace(spec.layers[-1], options={"hidden_classes": 41})
    detector = scrambled(build(replace(spec, layers=(*spec.layers[:-1], head))))
    converted = convert(detector, "ultralytics", tmp_path)
    theirs = build(read_spec(converted.files[0]))
    assert converted.resized
    fill(theirs, converted.files[1])
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(theirs(x).scores, detector(x).scores)
    assert not convert(small(), "ultralytics", tmp_path).resized


def test_depthwise_branches_are_filled_in_too(tmp_path: Path) -> None:
    wide, narrow = (nn.Sequential(nn.Conv2d(c, c, 3, groups=c), nn.BatchNorm2d(c), nn.Conv2d(c, 5, 1)) for c in (7, 11))
    from safetensors.torch import save_file

    save_file(wide.state_dict(), tmp_path / "w.safetensors")
    fill(narrow, tmp_path / "w.safetensors")
    x = torch.rand(1, 7, 5, 5)
    assert torch.equal(wide.eval()(x), narrow.eval()(x))


def test_other_epsilons_are_reported(tmp_path: Path) -> None:
    with pytest.warns(RegardWarning, match="epsilon"):
        convert(small("nn.BatchNorm2d", ""), "ultralytics", tmp_path)


def test_a_state_dict_becomes_a_whole_file(tmp_path: Path) -> None:
    detector = scrambled(build(read_spec("yolov8n")))
    torch.save(detector.state_dict(), tmp_path / "old.pt")
    converted = regard.convert(tmp_path / "old.pt", tmp_path / "new.safetensors")
    own, new = detector.state_dict(), regard.load(converted.files[0]).state_dict()
    assert own.keys() == new.keys()
    assert all(torch.equal(own[key], new[key]) for key in own)
    regard.convert("yolov8n", tmp_path / "graph.yaml")
    assert read_spec(tmp_path / "graph.yaml") == read_spec("yolov8n")


def test_a_graph_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    detector, graph = small(), tmp_path / "mine.yaml"
    graph.write_text("somebody's")
    with pytest.raises(RegardError, match="not replaced"):
        convert(detector, "ultralytics", tmp_path / "mine.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert graph.read_text() == "somebody's"


def test_weights_without_their_graph_are_not_replaced_in_a_folder(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_text("somebody's")
    with pytest.raises(RegardError, match="not replaced"):
        convert(small(), "ultralytics", tmp_path)
    assert weights.read_text() == "somebody's"


def test_a_conversion_can_be_repeated_with_other_weights(tmp_path: Path) -> None:
    detector = small()
    convert(detector, "ultralytics", tmp_path)
    scrambled(detector)
    _, weights = convert(detector, "ultralytics", tmp_path).files
    own = detector.state_dict()
    assert all(torch.equal(tensor, own[key]) for key, tensor in load_file(weights).items())
    with pytest.raises(RegardError, match="not replaced"):
        convert(small("C3TR", "64"), "ultralytics", tmp_path)


def test_a_graph_without_a_limit_stays_without_one(tmp_path: Path) -> None:
    convert(build(read_spec("yolov9t")), "ultralytics", tmp_path)
    text = (tmp_path / "model.yaml").read_text().replace("Conv, [16, 3, 2]", "Conv, [4096, 1, 1]")
    assert parse_spec(text, tmp_path / "model.yaml").layers[0].args[0] == 4096
    assert build(parse_spec(text, tmp_path / "model.yaml")).spec.info["stem"].out_channels == 4096


@pytest.mark.parametrize("to", ["yolov5", "ultralytics"])
def test_the_head_of_a_user_is_written_in_the_native_form_only(tmp_path: Path, to: str) -> None:
    own = type("MyDetect", (LAYERS["AnchorFreeDetect"],), {})
    text = read_spec("yolov8n").to_yaml().replace("AnchorFreeDetect", "MyDetect")
    detector = build(parse_spec(text, None), modules={"MyDetect": own})
    with pytest.raises(RegardError) as rejected:
        convert(detector, to, tmp_path / "out")
    assert rejected.value.hint == "give --to native"
    convert(detector, "native", tmp_path / "own.safetensors")
    with pytest.raises(RegardError, match="MyDetect, whose boxes need NMS"):
        detector.with_nms(False)
