"""Checkpoints as forks and older releases write them: other names, wrappers, activations and epsilons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import regard
from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import spec_from_document
from regard.graph.user_modules import import_modules
from regard.nn.conv import Conv
from regard.weights.detector import load_detector, save_detector

Define = Callable[[str], type[nn.Module]]


def graph_of(row: list[object], **more: object) -> dict[str, Any]:
    anchors = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119]]
    conv, down = [-1, 1, "Conv", [16, 6, 2, 2]], [-1, 1, "Conv", [40, 3, 2]]
    head = [[[3, 4], 1, "Detect", ["nc", "anchors"]]]
    backbone = [conv, down, [-1, 1, "Conv", [40, 3, 2]], [-1, 1, *row], down]
    return {"nc": 2, "anchors": anchors, "backbone": backbone, "head": head, **more}


def fork(define: Define, row: list[object], own: list[object] | None = None, **more: object) -> tuple[Any, Detector]:
    """A model as a fork pickles it, and the detector with the same tensors, whose row is perhaps called otherwise."""
    detector = build(spec_from_document(graph_of(own or row)))
    for tensor in detector.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim < 3:
            tensor.uniform_(0.5, 1.5)
    model: Any = define("models.yolo.DetectionModel")()
    model.model = nn.Sequential(*detector.model)
    model.yaml, model.names = graph_of(row, **more), ["ball", "cube"]
    return model, detector


def outputs(detector: Detector) -> Tensor:
    torch.manual_seed(5)
    found: Tensor = detector.eval()(torch.rand(1, 3, 64, 64)).boxes
    return found


PLAIN: list[object] = ["C3", [40]]


def test_the_grid_of_anchors_of_older_releases(define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, PLAIN)
    expected = outputs(detector)
    model.model[-1].register_buffer("anchor_grid", torch.ones(2, 1, 3, 1, 1, 2))
    torch.save({"model": model}, tmp_path / "old.pt")
    assert torch.equal(outputs(load_detector(tmp_path / "old.pt")), expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: {"ema": model},
        lambda model: {"model": None, "ema": model, "updates": 3},
        lambda model: {"model_ema": model},
        lambda model: {"model": model, "ema": model.state_dict()},
        lambda model: {"model": nn.DataParallel(model)},
        lambda model: {"model": model, "ema": {"module." + key: value for key, value in model.state_dict().items()}},
    ],
    ids=["ema", "updates", "model_ema", "state", "parallel", "prefix"],
)
def test_wrapped_models(wrap: Callable[[Any], object], define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, PLAIN)
    torch.save(wrap(model), tmp_path / "wrapped.pt")
    assert torch.equal(outputs(load_detector(tmp_path / "wrapped.pt")), outputs(detector))


def test_an_average_inside_its_own_class(define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, PLAIN)
    average: Any = define("utils.torch_utils.ModelEMA")()
    average.__dict__.update(ema=model, updates=7)
    torch.save({"ema": average}, tmp_path / "average.pt")
    assert torch.equal(outputs(load_detector(tmp_path / "average.pt")), outputs(detector))


@pytest.mark.parametrize(
    ("prefix", "key"), [("", "state_dict"), ("module.", None), ("module.model.", "ema_state_dict")]
)
def test_bare_tensors_of_the_zoo(prefix: str, key: str | None, tmp_path: Path) -> None:
    detector = load_detector("yolov5n")
    state = {prefix + name: value for name, value in detector.state_dict().items()}
    torch.save({key: state} if key else state, tmp_path / "state.pt")
    loaded = load_detector(tmp_path / "state.pt")
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in detector.state_dict().items())


def test_bare_tensors_of_a_graph_that_the_user_has(define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, ["CoordAtt", [40, 8]])
    (tmp_path / "fork.yaml").write_text(yaml.safe_dump(model.yaml))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "state.pt")
    loaded = regard.load(tmp_path / "fork.yaml", weights=tmp_path / "state.pt")
    assert torch.equal(outputs(loaded), outputs(detector))
    with pytest.raises(RegardError, match="--weights"):
        regard.load(tmp_path / "state.pt")


@pytest.mark.parametrize("activation", [nn.LeakyReLU(0.1), nn.Hardswish(), nn.ReLU()])
def test_the_activation_of_the_pickle_counts(activation: nn.Module, define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, PLAIN, activation="nn.SiLU()")
    plain = outputs(detector)
    for part in detector.modules():
        if isinstance(part, Conv):
            part.act = activation
    torch.save(model, tmp_path / "m.pt")
    loaded = load_detector(tmp_path / "m.pt")
    assert torch.equal(outputs(loaded), outputs(detector))
    assert not torch.equal(outputs(loaded), plain)
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(model.yaml))
    with pytest.warns(RegardWarning, match=f"learned with nn.{type(activation).__name__}"):
        regard.load(tmp_path / "plain.yaml", weights=tmp_path / "m.pt")
    save_detector(tmp_path / "m.safetensors", loaded)
    assert torch.equal(outputs(load_detector(tmp_path / "m.safetensors")), outputs(loaded))


def test_several_or_unknown_activations_are_rejected(define: Define, tmp_path: Path) -> None:
    model, _ = fork(define, PLAIN)
    model.model[0].act = nn.ReLU()
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(RegardError, match=r"m\.pt: .*different activations: nn\.ReLU\(\), nn\.SiLU\(\)"):
        load_detector(tmp_path / "m.pt")
    model.model[0].act = define("models.common.Acon")()
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(RegardError, match=r"m\.pt: model\.0\.act is Acon"):
        load_detector(tmp_path / "m.pt")


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.1])
def test_the_epsilon_of_the_pickle_counts(eps: float, define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, PLAIN)
    for part in detector.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = eps
    torch.save(model, tmp_path / "m.pt")
    loaded = load_detector(tmp_path / "m.pt")
    assert torch.allclose(outputs(loaded), outputs(detector), atol=1e-3)
    save_detector(tmp_path / "m.safetensors", loaded)
    assert torch.equal(outputs(load_detector(tmp_path / "m.safetensors")), outputs(loaded))


def test_what_no_tensor_shows_is_not_ignored(define: Define, tmp_path: Path) -> None:
    model, _ = fork(define, PLAIN)
    model.model[1].conv.dilation = (2, 2)
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(RegardError, match=r"model\.1\.conv has dilation \(2, 2\)"):
        load_detector(tmp_path / "m.pt")
    model.model[1].conv.dilation = (1, 1)
    model.model[3].m[0].add = False
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(RegardError, match=r"model\.3\.m\.0 has add False"):
        load_detector(tmp_path / "m.pt")


def rename(layer: nn.Module, names: Mapping[str, str]) -> None:
    """Give the submodules of a layer other names, in their order."""
    layer._modules = {names.get(name, name): module for name, module in layer._modules.items()}


def test_attention_under_its_authors_names(define: Define, tmp_path: Path) -> None:
    """The names of parameters are the same, so nothing is guessed and nobody is warned."""
    model, detector = fork(define, ["CoordAtt", [40, 40, 16]], ["CoordinateAttention", [40, 16]])
    for part in detector.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-3  # as YOLOv5 sets it everywhere
    torch.save(model, tmp_path / "m.pt")
    loaded = load_detector(tmp_path / "m.pt")
    assert loaded.spec.layers[3].module == "CoordinateAttention"
    assert torch.allclose(outputs(loaded), outputs(detector), atol=1e-3)


def test_tensors_under_other_names(define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, ["SELayer", [40, 8]], ["SE", [40, 8]])
    expected = outputs(detector)
    layer: Any = detector.model[3]
    convolutions = [nn.Conv2d(40, 5, 1, bias=False), nn.Conv2d(5, 40, 1, bias=False)]
    for convolution, linear in zip(convolutions, (layer.l1, layer.l2), strict=True):
        convolution.weight.data = linear.weight.data[:, :, None, None]
    theirs: Any = define("models.common.SELayer")()
    theirs.fc = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.Sigmoid())
    model.model[3] = theirs
    torch.save(model, tmp_path / "m.pt")
    with pytest.warns(RegardWarning, match=r"their order: .*\(models\.common\.SELayer as SE\); compare"):
        loaded = load_detector(tmp_path / "m.pt")
    assert torch.equal(outputs(loaded), expected)


def test_options_that_only_the_tensors_show(define: Define, tmp_path: Path) -> None:
    """The fork's class has another reduction by default than its row, or the package, states."""
    for name, own, stated in (("CBAM", [40, 4, 3], [40]), ("eca_layer", [40, 5], [40]), ("CA", [40, 4], [40, 40, 32])):
        module = {"eca_layer": "ECA", "CA": "CoordinateAttention"}.get(name, name)
        model, detector = fork(define, [name, stated], [module, own])
        expected = outputs(detector)
        if name == "CBAM":
            rename(detector.model[3], {"fc1": "f1", "fc2": "f2", "conv": "cv1"})
        torch.save(model, tmp_path / "m.pt")
        if name == "CBAM":
            with pytest.warns(RegardWarning, match="their order"):
                loaded = load_detector(tmp_path / "m.pt")
        else:
            loaded = load_detector(tmp_path / "m.pt")
        assert torch.equal(outputs(loaded), expected)
        save_detector(tmp_path / "m.safetensors", loaded)
        assert torch.equal(outputs(load_detector(tmp_path / "m.safetensors")), expected)


def test_attention_inside_c3(define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, ["C3SE", [40]], ["C3Attention", [40, "SE"]])
    expected = outputs(detector)
    rename(detector.model[3].m[0], {"attend": "se"})  # type: ignore[index, union-attr]
    torch.save(model, tmp_path / "m.pt")
    with pytest.warns(RegardWarning, match="as C3Attention"):
        loaded = load_detector(tmp_path / "m.pt")
    assert torch.equal(outputs(loaded), expected)


def test_attention_that_is_another_one(define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, ["SELayer", [40, 8]], ["SE", [40, 8]])
    detector.model[3].extra = nn.BatchNorm2d(40)
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(RegardError, match=r"(?s)model\.3\.extra.*--module"):
        load_detector(tmp_path / "m.pt")


def test_an_unknown_class_asks_for_its_file(define: Define, tmp_path: Path) -> None:
    model, _ = fork(define, ["Mystery", [40]], ["SE", [40]])
    model.model[3] = define("models.common.Mystery")()
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(RegardError, match=r"(?s)m\.pt: .*models\.common\.Mystery.*--module FILE\.py:Mystery"):
        load_detector(tmp_path / "m.pt")


HEADS = Path(__file__).parents[1] / "nn" / "heads" / "fork_heads.py"


def _with_head(define: Define, folder: Path, module: str, dotted: str, kind: str) -> tuple[Path, nn.Module]:
    """A checkpoint whose graph names the head ``module`` and whose pickled class ``dotted`` is ``kind`` of the file."""
    model, graph = fork(define, PLAIN)[0], graph_of(PLAIN)
    own = [8] if kind == "ListHead" else []
    stated = own if module == kind else []
    head = import_modules([str(HEADS)])[kind](2, graph["anchors"], *own, [40, 40])
    pickled: Any = define(dotted)()
    pickled.__dict__.update(head.__dict__, stride=torch.tensor([8.0, 16.0]))
    model.model[-1] = pickled
    model.yaml = graph | {"head": [[[3, 4], 1, module, ["nc", "anchors", *stated]]]}
    torch.save({"model": model}, folder / "head.pt")
    return folder / "head.pt", head


@pytest.mark.parametrize(
    ("module", "kind"), [("ListHead", "ListHead"), ("TupleHead", "TupleHead"), ("Detect", "TupleHead")]
)
@pytest.mark.filterwarnings("ignore:ListHead returns raw")
def test_a_head_of_a_fork_asks_for_its_file_and_is_read_with_it(
    define: Define, tmp_path: Path, module: str, kind: str
) -> None:
    file, head = _with_head(define, tmp_path, module, f"models.yolo.{kind}", kind)
    with pytest.raises(RegardError, match=f"models.yolo.{kind}.*(.*\n)*.*--module FILE.py:{kind}"):
        load_detector(file)
    loaded = load_detector(file, modules=import_modules([f"{HEADS}:{kind}"])).head.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in head.state_dict().items())
    assert loaded["anchors"].shape == (2, 3, 2)


def test_arguments_of_another_class_ask_for_its_file(define: Define, tmp_path: Path) -> None:
    model = fork(define, PLAIN)[0]
    model.yaml = graph_of(PLAIN) | {"head": [[[3, 4], 1, "Detect", ["nc", "anchors", 8]]]}
    torch.save({"model": model}, tmp_path / "head.pt")
    with pytest.raises(RegardError, match=r"head\.pt: .*(.*\n)*.*--module FILE\.py:Detect"):
        load_detector(tmp_path / "head.pt")


@pytest.mark.parametrize("name", ["Detect", "Decoupled_Detect"])
def test_a_head_of_a_known_name_that_is_another_is_named(define: Define, tmp_path: Path, name: str) -> None:
    file, _ = _with_head(define, tmp_path, "Detect", f"models.yolo.{name}", "ListHead")
    with pytest.raises(RegardError, match="do not fit") as caught:
        load_detector(file)
    assert f"--module FILE.py:{name} " in str(caught.value)


def test_other_numbers_of_channels_are_rejected(define: Define, tmp_path: Path) -> None:
    model, _ = fork(define, PLAIN, ch=4)
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(RegardError, match=r"m\.pt: ch is 4"):
        load_detector(tmp_path / "m.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_reported(value: float, define: Define, tmp_path: Path) -> None:
    model, detector = fork(define, PLAIN)
    detector.model[3].cv1.conv.weight.data[0] = value  # type: ignore[union-attr]
    torch.save(model, tmp_path / "m.pt")
    with pytest.warns(RegardWarning, match=r"m\.pt: 1 of \d+ tensors .* first model\.3\.cv1\.conv\.weight"):
        loaded = load_detector(tmp_path / "m.pt")
    save_detector(tmp_path / "m.safetensors", loaded)
    with pytest.warns(RegardWarning, match="not finite"):
        load_detector(tmp_path / "m.safetensors")


def test_a_checkpoint_of_version_1_whose_rows_end_the_levels(define: Define, tmp_path: Path) -> None:
    end: list[object] = [-1, 1, "nn.Conv2d", ["na * (nc + 5)", 1, 1, 0]]
    anchors = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119]]
    backbone = [[-1, 1, "Conv", [40, 3, 8]], [-1, 1, "C3", [40]]]
    head: list[object] = [end, [-2, 1, "Conv", [56, 3, 2]], end, [[], 1, "Detect", ["nc", "anchors"]]]
    graph = {"nc": 2, "anchors": anchors, "backbone": backbone, "head": head}
    detector = build(spec_from_document(graph))
    conv, block, down, detect = detector.model
    for end_of_level in detect.m:
        end_of_level.bias.data.uniform_(0.5, 1.5)
    old: Any = define("models.yolo.Detect")()
    old.register_buffer("anchors", detect.anchors)
    model: Any = define("models.yolo.Model")()
    model.model = nn.Sequential(conv, block, detect.m[0], down, detect.m[1], old)
    model.yaml, model.names = graph, ["ball", "cube"]
    torch.save({"model": model}, tmp_path / "v1.pt")
    regard.convert(tmp_path / "v1.pt", tmp_path / "present.safetensors")
    assert torch.equal(outputs(load_detector(tmp_path / "present.safetensors")), outputs(detector))


@pytest.mark.parametrize(
    ("row", "own"),
    [
        (["CoordAtt", [40, 40]], ["CoordinateAttention", [40, {"reduction": 2}]]),
        (["CBAM", [40, 5]], ["CBAM", [40, {"reduction": 5}]]),
        (["CBAM", [40, 5]], ["CBAM", [40, {"kernel_size": 5}]]),
        (["SE", [40, 40]], ["SE", [40, {"reduction": 8}]]),
    ],
)
def test_tensors_decide_between_two_meanings(
    row: list[object], own: list[object], define: Define, tmp_path: Path
) -> None:
    model, detector = fork(define, row, own)
    torch.save({"model": model}, tmp_path / "fork.pt")
    assert torch.equal(outputs(load_detector(tmp_path / "fork.pt")), outputs(detector))


def test_an_error_in_a_row_of_a_checkpoint_names_the_row_and_no_line(define: Define, tmp_path: Path) -> None:
    model, _ = fork(define, PLAIN)
    model.yaml["backbone"][3] = [[-1, 2], 1, "Concat_bifpn", [40, 40]]
    torch.save({"model": model}, tmp_path / "fork.pt")
    with pytest.raises(RegardError, match="row 3") as caught:
        load_detector(tmp_path / "fork.pt")
    assert not caught.value.line
