"""Whole detectors to files and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from regard.errors import RegardError, RegardWarning
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.edit import insert
from regard.graph.read import read_spec, spec_from_document
from regard.graph.user_modules import import_modules
from regard.types import Predictions
from regard.weights.detector import load_detector, save_detector
from regard.weights.store import WeightsHeader, save_weights

SOURCE = """\
from torch import nn

class Scale(nn.Module):
    def __init__(self, c1, c2, factor=2.0):
        super().__init__()
        self.factor = factor
        self.scale = nn.Parameter(__import__("torch").rand(c1, 1, 1))

    def forward(self, x):
        return x * self.scale * self.factor
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def outputs(detector: Detector) -> Predictions:
    with torch.inference_mode():
        return detector(torch.linspace(0, 1, 3 * 64 * 96).view(1, 3, 64, 96))


def test_a_gated_detector_and_all_that_is_known_of_it_come_back(tmp_path: Path) -> None:
    names = {0: "red", 1: "white", 2: "platelets: 小"}
    spec = insert(read_spec("yolov5n").with_classes(3), "SE", after="sppf", options={"reduction": 8})
    detector = build(spec, names=names)
    nn.init.constant_(detector.layer("sppf.se").get_parameter("gamma"), 0.3)
    detector.head.anchors.mul_(1.25)
    save_detector(tmp_path / "a.safetensors", detector)
    again = load_detector(tmp_path / "a.safetensors")
    assert all(map(torch.equal, outputs(again), outputs(detector)))
    assert (again.names, again.spec.layers, again.training) == (names, detector.spec.layers, False)
    assert again.spec.anchors[0][0] == 12.5  # type: ignore[index]
    assert again.layer("sppf.se").get_parameter("gamma").item() == pytest.approx(0.3)


def test_a_users_module_is_asked_for_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    modules = import_modules([f"{file}:Scale"])
    detector = build(insert(read_spec("yolov5n"), "Scale", after="p3", options={"factor": 3.0}), modules=modules)
    save_detector(tmp_path / "a.safetensors", detector)
    with pytest.raises(RegardError, match=r"needs your own Scale\n.*--module mine\.py:Scale.*modules=") as caught:
        load_detector(tmp_path / "a.safetensors")
    assert caught.value.file == tmp_path / "a.safetensors"
    again = load_detector(tmp_path / "a.safetensors", modules=modules)
    assert all(map(torch.equal, outputs(again), outputs(detector)))
    save_detector(tmp_path / "b.safetensors", again)
    assert load_detector(tmp_path / "b.safetensors", modules=modules).user_modules == modules


def test_a_run_folder_gives_its_best_weights(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="no weights in this folder"):
        load_detector(tmp_path)
    last, best = build(read_spec("yolov5n")), build(read_spec("yolov5n"))
    save_detector(tmp_path / "last.safetensors", last)
    assert all(map(torch.equal, outputs(load_detector(tmp_path)), outputs(last)))
    save_detector(tmp_path / "best.safetensors", best)
    assert all(map(torch.equal, outputs(load_detector(tmp_path)), outputs(best)))


def test_averages_may_be_saved_in_place_of_the_weights(tmp_path: Path) -> None:
    detector, other = build(read_spec("yolov5n")), build(read_spec("yolov5n"))
    save_detector(tmp_path / "a.safetensors", detector, state=other.state_dict(), training={"epochs": 3})
    assert all(map(torch.equal, outputs(load_detector(tmp_path / "a.safetensors")), outputs(other)))


def test_the_published_checkpoint(shared: Path, tmp_path: Path) -> None:
    detector = load_detector(shared / "weights/yolov5n.pt")
    assert [row.name for row in detector.spec.layers] == [row.name for row in read_spec("yolov5n").layers]
    assert detector.spec.anchors == read_spec("yolov5n").anchors
    assert (detector.names[0], detector.nc) == ("person", 80)
    save_detector(tmp_path / "a.safetensors", detector)
    assert all(map(torch.equal, outputs(load_detector(tmp_path / "a.safetensors")), outputs(detector)))


def test_a_plain_state_dict_finds_its_graph(tmp_path: Path) -> None:
    detector = build(read_spec("yolov5n").with_classes(3))
    torch.save(detector.state_dict(), tmp_path / "plain.pt")
    again = load_detector(tmp_path / "plain.pt")
    assert (again.nc, len(again.names)) == (3, 3)
    assert all(map(torch.equal, outputs(again), outputs(detector)))
    odd = {"model.0.conv.weight": torch.zeros(5, 3, 6, 6)}
    torch.save(odd, tmp_path / "odd.pt")
    with pytest.raises(RegardError, match="fits no model of the zoo"):
        load_detector(tmp_path / "odd.pt")
    short = dict(list(detector.state_dict().items())[:-1])
    torch.save(short, tmp_path / "short.pt")
    with pytest.raises(RegardError, match=r"nearest is yolov5n, but model\.24\.m\.2\.bias is missing"):
        load_detector(tmp_path / "short.pt")


def test_weights_that_do_not_fit_name_the_first_differences(tmp_path: Path) -> None:
    detector = build(read_spec("yolov5n"))
    state = detector.state_dict()
    del state["model.0.conv.weight"]
    state["model.1.conv.weight"] = torch.zeros(3)
    state["extra"] = torch.zeros(3)
    save_detector(tmp_path / "a.safetensors", detector, state=state)
    with pytest.raises(
        RegardError, match=r"model.0.conv.weight is missing; extra is not expected; model.1.conv.weight is"
    ):
        load_detector(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["yolov5n", "yolov5n.yaml"])
def test_names_of_the_zoo(name: str) -> None:
    assert load_detector(name).strides == (8, 16, 32)


@pytest.mark.parametrize("name", ["yolov5s.pt", "nothing.safetensors", "yolov5q", "nothing.yaml"])
def test_what_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(RegardError):
        load_detector(tmp_path / name)


def test_suffixes_in_capitals_are_the_same(tmp_path: Path) -> None:
    save_detector(tmp_path / "A.SAFETENSORS", build(read_spec("yolov5n")))
    assert load_detector(tmp_path / "A.SAFETENSORS").nc == 80
    with pytest.raises(RegardError, match="no such file"):
        load_detector(tmp_path / "A.PT")


def test_a_name_of_the_zoo_that_a_folder_or_file_has_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd-one-out").mkdir()
    with pytest.warns(RegardWarning, match="model of the package"):
        packaged = load_detector("odd-one-out")
    save_detector(Path("odd-one-out/best.safetensors"), build(packaged.spec.with_classes(7)))
    with pytest.warns(RegardWarning, match="your"):
        assert load_detector("odd-one-out").nc == 7
    assert load_detector("./odd-one-out/best.safetensors").nc == 7


def test_lightning_is_named_only_where_its_checkpoint_is_no_detector(tmp_path: Path) -> None:
    file, mark = tmp_path / "last.ckpt", {"pytorch-lightning_version": "2.1.0"}
    torch.save(mark | {"state_dict": {"net.conv.weight": torch.ones(2, 3)}}, file)
    with pytest.raises(RegardError, match=r"net\.conv\.weight.*(\n.*)*Lightning 2\.1\.0"):
        load_detector(file)
    state = load_detector("odd-one-out").state_dict()
    torch.save(mark | {"state_dict": {f"model.{key}": value for key, value in state.items()}}, file)
    loaded = load_detector(file).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_a_graph_in_a_file_of_weights_reads_no_other_file(tmp_path: Path) -> None:
    model = load_detector("odd-one-out")
    (tmp_path / "secret.yaml").write_text(model.spec.to_yaml())
    graph = f"base: {tmp_path / 'secret.yaml'}\n"
    save_weights(tmp_path / "a.safetensors", model.state_dict(), WeightsHeader(graph=graph, names=model.names))
    with pytest.raises(RegardError, match="based on another file"):
        load_detector(tmp_path / "a.safetensors")
    with pytest.raises(RegardError, match="based on another file"):
        spec_from_document({"base": str(tmp_path / "secret.yaml")})
