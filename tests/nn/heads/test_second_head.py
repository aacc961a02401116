"""A second head, from a separate file, through everything that a detector does."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import regard
from regard.config import AugmentSettings, OptimSettings, Recipe
from regard.data.synthetic import scene
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec, read_spec
from regard.graph.user_modules import import_modules
from regard.nn.table import LAYERS
from regard.runtimes.choose import open_predictor
from regard.types import Predictions
from regard.weights.detector import load_matching, rebuild, replace_classes

HEAD_FILE = Path(__file__).with_name("centre_head.py")
DATA = "synthetic:local?train=48&val=8&test=0"
RECIPE = Recipe(
    name="plain",
    augment=AugmentSettings(mosaic=0, scale=0, translate=0),
    optim=OptimSettings(optimizer="adamw", lr=0.004, warmup_epochs=0, nominal_batch=0, ema_decay=0.9, ema_tau=1.0),
)


def modules() -> dict[str, type[torch.nn.Module]]:
    return import_modules([f"{HEAD_FILE}:CentreHead"])


def graph(name: str) -> str:
    return read_spec(name).to_yaml().replace("Detect, [nc, anchors]", "CentreHead, [nc]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a short training, with a gated attention module in the graph."""
    folder = tmp_path_factory.mktemp("second-head")
    (folder / "model.yaml").write_text(graph("odd-one-out"))
    torch.manual_seed(2)
    model = regard.insert(regard.load(folder / "model.yaml", modules=modules()), "ECA", after="p4")
    run = regard.train(
        *(model, DATA), folder=folder / "run", epochs=8, imgsz=128, batch=4, workers=0, recipe=RECIPE, verbose=False
    )
    return run.folder


def test_training_writes_the_head_s_own_losses_and_improves_them(trained: Path) -> None:
    with (trained / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [column for column in rows[0] if column.startswith("train/")] == ["train/iou", "train/focal"]
    first, *_, last = ([float(row[f"train/{name}"]) for name in ("iou", "focal")] for row in rows)
    assert last[0] < 0.7 * first[0]
    assert last[1] < 0.9 * first[1]
    assert (trained / "results.png").is_file()
    assert "CentreHead" in (trained / "model.yaml").read_text()
    assert json.loads((trained / "run.json").read_text())["settings"]["epochs"] == 8


def test_a_run_can_be_resumed(trained: Path) -> None:
    assert regard.resume(trained, verbose=False, modules=modules()).folder == trained


def test_validation_finds_the_objects(trained: Path) -> None:
    metrics = regard.val(trained, DATA, imgsz=128, modules=modules(), device="cpu")
    assert metrics.ap50 > 0.1


def test_exported_files_predict_the_same(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    detector = regard.load(trained, modules=modules())
    image = np.asarray(scene(0, "val", 1).read())
    expected = regard.predict(detector, image, imgsz=128, conf=0.1)
    assert len(expected) > 0
    for name, nms in (("a.onnx", False), ("b.onnx", True), ("c.torchscript", True)):
        report = regard.export(detector, tmp_path / name, imgsz=128, nms=nms or None, **({"conf": 0.1} if nms else {}))
        assert report.passed
        found = regard.predict(tmp_path / name, image, imgsz=128, conf=0.1)
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        assert found.class_ids.tolist() == expected.class_ids.tolist()


def test_other_classes_keep_boxes_and_classes_of_the_same_name(trained: Path) -> None:
    detector = regard.load(trained, modules=modules())
    other = replace_classes(detector, {0: "triangle", 1: "square", 2: "ring"})[0]
    old, new = detector.head.state_dict(), other.head.state_dict()
    assert torch.equal(new["box.0.weight"], old["box.0.weight"])
    assert torch.equal(new["cls.0.weight"][1], old["cls.0.weight"][1])
    assert new["cls.0.bias"].shape == (3,)
    assert other.nc == 3


def test_attention_summary_and_gradients_ask_the_head(trained: Path) -> None:
    detector = regard.load(trained, modules=modules())
    image = np.asarray(scene(0, "val", 1).read())
    view = regard.attend(detector, image, layer="p4", kind="gradient", imgsz=128)
    assert view.box_xyxy is not None
    assert "[[128], 2]" in str(detector.summary(imgsz=128).to_markdown())
    assert regard.cost(detector, imgsz=128)


def test_levels_of_any_order_are_selected_as_decoded() -> None:
    torch.manual_seed(1)
    detector = build(parse_spec(graph("yolov5n"), None), modules=modules())
    assert detector.strides == (8, 16, 32)
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        predictions = detector(images)
        best = predictions.scores.amax(2)
        conf = best.median().item()
        selected = detector.head.select(detector.raw(images), conf)
    assert isinstance(predictions, Predictions)
    assert predictions.boxes.shape == (2, 8 * 12 + 4 * 6 + 2 * 3, 4)
    rows = torch.cat(predictions, dim=2)
    for own, all_rows, scores in zip(selected, rows, best, strict=True):
        assert 0 < len(own) < len(all_rows)
        assert torch.equal(own, all_rows[scores > conf])


def test_a_graph_must_end_in_a_head() -> None:
    text = read_spec("odd-one-out").to_yaml()
    with pytest.raises(RegardError, match=r"(?s)not a detection head.*Detect.*--module"):
        build(parse_spec(text[: text.index("  - detect")], None))
    with pytest.raises(RegardError, match="unknown module 'CentreHead'"):
        build(parse_spec(graph("odd-one-out"), None))


def test_a_detector_of_one_head_starts_from_the_weights_of_another(trained: Path) -> None:
    source = regard.load(trained, modules=modules())
    stock: Detector = regard.load("odd-one-out", weights=trained, modules=modules())
    assert torch.equal(
        stock.layer("stem").state_dict()["conv.weight"], source.layer("stem").state_dict()["conv.weight"]
    )
    assert type(stock.head) is not type(source.head)


def test_in_the_table_a_head_that_decodes_itself_is_compiled(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("regard.graph.aliases.LAYERS", {**LAYERS, **modules()})
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    spec = parse_spec(graph("odd-one-out"), None)
    detector, _ = rebuild(regard.load(trained, modules=modules()), spec)
    detector.user_modules = {}
    regard.save(detector, tmp_path / "a.safetensors")
    images = np.stack([scene(0, "val", i).read().transpose(2, 0, 1) for i in range(3)])
    found = open_predictor(tmp_path / "a.safetensors", device="cpu", backend="onnxruntime").predict(images, 0.05)
    assert sum(map(len, found)) > 3
    for own, expected in zip(found, detector.predict(images, 0.05), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stock", ["yolov5n", "yolo11n"])
def test_a_head_of_any_class_is_called_detect(stock: str, tmp_path: Path) -> None:
    base = regard.load(stock)
    own = type("MyDetect", (type(base.head),), {})
    text = base.spec.to_yolov5_yaml() if stock == "yolov5n" else base.spec.to_ultralytics_yaml()
    text = text.replace("Detect, [nc", "MyDetect, [nc").replace("[nc]]", "[nc, {depthwise: true}]]")
    spec = parse_spec(text, None)
    assert [layer.name for layer in spec.layers] == [layer.name for layer in base.spec.layers]
    detector = build(spec, modules={"MyDetect": own})
    detector, report = load_matching(detector, base)
    assert (report.initialised, report.unused) == ((), ())
    # Files written before heads were called so state a name after the class.
    old = build(parse_spec(spec.to_yaml().replace("- detect:", "- mydetect:"), None), modules={"MyDetect": own})
    assert old.spec.layers[-1].name == "mydetect"
    for source, target in ((base, old), (old, detector)):
        assert not load_matching(target, source)[1].initialised
    regard.save(old, tmp_path / "old.safetensors")
    again = regard.load(tmp_path / "old.safetensors", modules={"MyDetect": own})
    assert all(map(torch.equal, again.state_dict().values(), old.state_dict().values()))
