"""The addresses of the server: what they return equals what the Python API and the command line give."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")

import regard
from regard.data.formats import load_data
from regard.data.synthetic import scene
from regard.graph.read import read_spec
from regard.graph.renumber import integer_yaml
from regard.studio.app import PAGE

STALE = "  - [[-1, 14], 1, Concat, [1]]"


def png_header(width: int, height: int) -> bytes:
    """A PNG without pixels, which states a size."""
    parts = {b"IHDR": struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0), b"IDAT": zlib.compress(b""), b"IEND": b""}
    chunks = [struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in parts.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png(number: int = 0) -> bytes:
    encoded = cv2.imencode(".png", cv2.cvtColor(scene(number, "val", 0).read(), cv2.COLOR_RGB2BGR))[1]
    return bytes(encoded.tobytes())


def test_the_graph_has_the_numbers_of_the_summary(studio: Any) -> None:
    opened = studio.post("open", source="odd-one-out-se")
    summary = regard.load("odd-one-out-se").summary(640)
    nodes = opened["diagram"]["nodes"]
    assert [node["name"] for node in nodes] == [row.name for row in summary.rows]
    assert [node["cost"]["flops"] for node in nodes] == [row.flops for row in summary.rows]
    assert [node["cost"]["parameters"] for node in nodes] == [row.parameters for row in summary.rows]
    assert opened["diagram"]["totals"] == summary.totals
    se = next(node for node in nodes if node["module"] == "SE")
    assert se["attention"] == [se["name"]]
    assert se["gate"] is None
    assert nodes[-1]["section"] == "detect"
    assert nodes[-1]["level"] is None


def test_an_edit_is_made_undone_and_made_again(studio: Any) -> None:
    base = studio.post("open", source="yolov5n")
    edited = studio.post("edit", kind="insert", layer="sppf", module="SE", options={"reduction": "8"})
    by_api = regard.insert(regard.load("yolov5n"), "SE", after="sppf", options={"reduction": 8})
    assert [n["name"] for n in edited["diagram"]["nodes"]] == [row.name for row in by_api.spec.layers]
    assert edited["diagram"]["nodes"][10]["gate"] == 0
    change = edited["difference"]
    assert change["kept"] == change["tensors"] == len(by_api.state_dict()) - 3
    assert change["parameters"][1] == sum(p.numel() for p in by_api.parameters())
    assert edited["recipe"]["commands"] == (
        "regard insert yolov5n SE --after sppf -a reduction=8 -o edited.safetensors"
    )
    integers = edited["integers"]
    text = "\n".join("".join(part["text"] for part in line["parts"]) for line in integers["after"]) + "\n"
    assert text == integer_yaml(by_api.spec, ungated=True)
    changed = [line for line in integers["after"] if line["change"] == "shifted"]
    assert integers["shifted"] == sum(part["shifted"] for line in changed for part in line["parts"]) == 5
    assert studio.post("undo")["diagram"] == base["diagram"]
    assert not studio.get("state")["undo"]
    assert studio.post("redo")["diagram"] == edited["diagram"]
    assert studio.post("redo", status=422)["what"] == "there is nothing to redo"


def test_a_new_edit_forgets_what_was_undone(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("edit", kind="insert", layer="p3", module="SE")
    studio.post("undo")
    opened = studio.post("edit", kind="replace", layer="p4", module="C3TR")
    assert opened["undo"]
    assert not opened["redo"]
    assert "p3.se" not in [node["name"] for node in opened["diagram"]["nodes"]]
    assert opened["difference"]["kept"] < opened["difference"]["tensors"]
    assert len(studio.post("edit", kind="remove", layer="p4")["edits"]) == 2


def test_an_error_keeps_the_model_and_has_its_parts(studio: Any) -> None:
    opened = studio.post("open", source="odd-one-out")
    fault = studio.post("edit", status=422, kind="insert", layer="p3", module="SEE")
    assert "SEE" in fault["what"]
    assert "SE" in fault["hint"]
    assert studio.get("state")["diagram"] == opened["diagram"]
    assert studio.post("edit", status=422, kind="paint", layer="p3")["what"].startswith("kind")
    assert studio.post("open", status=422, source="../x.pt")["what"].endswith("leads out of the workspace")


def test_a_miswired_file_is_shown_and_corrected(studio: Any) -> None:
    model = regard.insert(regard.load("yolov5n"), "SE", after="sppf", gate=False)
    text = integer_yaml(model.spec)
    right = "  - [[-1, 15], 1, Concat, [1]]"
    wrong = text.replace(right, STALE)
    assert wrong != text
    for name in ("a.pt", "a.safetensors", "yaml"):
        assert "no YAML file" in studio.post("open-text", status=422, text=wrong, name=name)["what"]
    opened = studio.post("open-text", text=wrong, name="mine.yaml")
    (finding,) = [one for one in opened["findings"] if not one["note"]]
    assert wrong.splitlines()[finding["line"] - 1] == STALE
    assert finding["slots"] == [1]
    assert finding["row"] == right.strip(" -")
    assert len(opened["diagram"]["nodes"]) == len(model.spec.layers)
    mended = studio.post("correct", lines=[finding["line"]])
    assert mended["text"] == text
    assert mended["findings"] == []


def test_a_graph_whose_maps_do_not_fit_is_drawn_without_costs(studio: Any) -> None:
    text = integer_yaml(regard.load("yolov5n").spec)
    wrong = text.replace("[[-1, 6], 1, Concat, [1]]", "[[-1, 4], 1, Concat, [1]]")
    assert wrong != text
    opened = studio.post("open-text", text=wrong, name="mine.yaml")
    assert opened["difference"] is None
    nodes = opened["diagram"]["nodes"]
    assert len(nodes) == 25
    assert nodes[4]["level"] == 3
    assert nodes[4]["cost"] is None
    (finding,) = opened["findings"]
    assert studio.post("edit", status=422, kind="insert", layer="sppf", module="SE")["what"]
    assert studio.post("correct", lines=[finding["line"]])["text"] == text


def test_the_catalogue_states_costs_at_the_place(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    entries = {entry["name"]: entry for entry in studio.get("catalogue")}
    (option,) = entries["SE"]["options"]
    assert (option["kind"], option["default"], option["help"]) == ("integer", 16, "channels per hidden unit.")
    assert entries["SE"]["address"] == "https://arxiv.org/abs/1709.01507"
    costs = {cost["name"]: cost for cost in studio.get("catalogue/costs?after=p4")}
    assert costs.keys() == entries.keys()
    for name in ("SE", "CBAM", "MultiHeadSelfAttention"):
        edited = studio.post("edit", kind="insert", layer="p4", module=name, gate=False)
        node = next(node for node in edited["diagram"]["nodes"] if node["module"] == name)
        assert node["cost"]["flops"] == costs[name]["flops"]
        assert node["cost"]["parameters"] == costs[name]["parameters"]
        studio.post("undo")


@pytest.mark.parametrize("form", ["overlay", "yaml", "integers", "safetensors"])
def test_what_is_saved_can_be_loaded(form: str, studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("edit", kind="insert", layer="p4", module="SE", options={"reduction": 8}, gate=False)
    path = studio.post("save", form=form, name="mine")["path"]
    again = regard.load(studio.workspace / path)
    wanted = studio.bench.state.built
    assert [row.module for row in again.spec.layers] == [row.module for row in wanted.spec.layers]
    assert again.state_dict().keys() == wanted.state_dict().keys()
    if form == "safetensors":
        assert all((again.state_dict()[key] == value).all() for key, value in wanted.state_dict().items())
    assert "already" in studio.post("save", status=422, form=form, name="mine")["what"]
    studio.post("save", form=form, name="mine", overwrite=True)
    assert path in studio.get("files")["models"]
    for name in ("../mine", "/tmp/mine", "no/such/mine"):
        studio.post("save", status=422, form=form, name=name)


def test_a_size_in_the_name_of_a_saved_file_is_one_that_it_states(studio: Any) -> None:
    opened = studio.post("open", source="yolov9t")
    edited = studio.post("edit", kind="insert", layer="p5", module="SE", gate=False)
    assert any("  t: [" in part["text"] for line in edited["integers"]["after"] for part in line["parts"])
    path = studio.post("save", form="integers", name=opened["source"] + "-edited")["path"]
    assert len(regard.load(studio.workspace / path).spec.layers) == len(opened["diagram"]["nodes"]) + 1


def test_detections_are_those_of_predict(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    pixels = scene(0, "val", 0).read()
    image = studio.upload(png())
    assert (image["width"], image["height"]) == (pixels.shape[1], pixels.shape[0])
    for conf, iou in ((0.02, 0.45), (0.02, 0.1), (0.3, 0.9)):
        boxes = studio.post("detect", image=image["key"], conf=conf, iou=iou)["boxes"]
        found = regard.predict(studio.bench.state.built, pixels, conf=conf, iou=iou)
        assert isinstance(found, regard.Detections)
        assert len(boxes) == len(found)
        assert np.allclose(np.reshape([box["box"] for box in boxes], (-1, 4)), found.boxes_xyxy, atol=1e-4)
        assert [box["name"] for box in boxes] == found.class_names


def test_the_map_is_that_of_attend(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("edit", kind="insert", layer="p4", module="MultiHeadSelfAttention", gate=False)
    image, pixels = studio.upload(png()), scene(0, "val", 0).read()
    question = {"image": image["key"], "layer": "p4.multiheadselfattention", "x": 30.0, "y": 70.0}
    maps = studio.post("attend", **question)
    view = regard.attend(studio.bench.state.built, pixels, layer=question["layer"], query=(30, 70))
    assert len(maps["grids"]) == 5  # their mean and four heads
    for grid, head in zip(maps["grids"][1:], view.map.weights[0, :, 0], strict=True):
        values = np.frombuffer(base64.b64decode(grid["values"]), "<f4").reshape(grid["rows"], grid["columns"])
        assert np.allclose(values, head, atol=1e-6)
    assert maps["query"] == [30, 70]
    gradient = studio.post("attend", **question | {"kind": "gradient", "layer": "p3"})
    assert len(gradient["box"]) == 4
    features = studio.post("attend", **question | {"kind": "features", "layer": "p3"})
    assert len(features["grids"]) == 13
    assert studio.post("attend", status=422, **question | {"layer": "p3"})["hint"]
    assert studio.post("attend", status=422, **question | {"base": True})["what"]


def test_labels_of_the_data_set_come_with_its_images(studio: Any, tmp_path: Path) -> None:
    assert studio.get("samples") == []
    studio = type(studio)(tmp_path, "synthetic:context?train=2&val=3&test=0")
    names = studio.get("samples")
    assert [name.partition("/")[0] for name in names] == ["val"] * 3 + ["train"] * 2
    kept = studio.post("image/sample", source=names[1])
    sample = load_data("synthetic:context?train=2&val=3&test=0").splits["val"][1]
    centres = [[(b[0] + b[2]) / 2 / kept["width"], (b[1] + b[3]) / 2 / kept["height"]] for b in boxes_of(kept)]
    assert np.allclose(centres, sample.boxes_cxcywh[:, :2], atol=1e-5)
    assert [label["class_id"] for label in kept["labels"]] == sample.class_ids.tolist()
    studio.post("image/sample", status=422, source="../x")


def boxes_of(kept: Any) -> list[list[float]]:
    return [label["box"] for label in kept["labels"]]


def test_only_images_are_taken_and_few_are_kept(studio: Any) -> None:
    (studio.workspace / "a.png").write_bytes(png())
    (studio.workspace / "b.txt").write_bytes(png())
    assert "not an image" in studio.upload(b"no image", status=422)["what"]
    assert (
        "'bomb.png' has more pixels than are decoded: 12007 x 12011"
        in studio.upload(png_header(12007, 12011), "bomb.png", 422)["what"]
    )
    assert "more pixels" in studio.upload(png_header(30011, 30013), status=422)["what"]
    assert studio.get("files")["images"] == ["a.png"]
    first = studio.post("image/open", source="a.png")
    studio.post("image/open", status=422, source="b.txt")
    answer = studio.client.get(f"/api/image/{first['key']}", headers={"x-regard-token": "secret-token"})
    assert answer.headers["content-type"] == "image/jpeg"
    for _ in range(8):
        studio.upload(png())
    studio.post("detect", status=422, image=first["key"])


def test_nothing_is_open_at_first(studio: Any) -> None:
    answer = studio.client.get("/api/state", headers={"x-regard-token": "secret-token"})
    assert answer.status_code == 422
    assert answer.json()["what"] == "no model is open"


def test_the_base_of_an_overlay_lies_in_the_workspace(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("other") / "m.yaml"
    outside.write_text(read_spec("odd-one-out").to_yaml())
    (studio.workspace / "m.yaml").write_text(outside.read_text())
    (studio.workspace / "in.yaml").write_text("base: m.yaml\n")
    (studio.workspace / "out.yaml").write_text(f"base: {outside}\n")
    for text in (f"base: {outside}", "base: out.yaml", f"base: {outside}\nnc: 3"):
        fault = studio.post("open-text", status=422, text=text, name="a.yaml")
        assert fault["what"].endswith("outside the workspace")
    assert "outside" in studio.post("open", status=422, source="out.yaml")["what"]
    (outside.parent / "yolov8.yaml").write_text(outside.read_text())  # for all sizes, of which the base names one
    fault = studio.post("open-text", status=422, text=f"base: {outside.parent}/yolov8n.yaml", name="a.yaml")
    assert fault["what"].endswith("outside the workspace")
    for text in ("base: in.yaml", "base: odd-one-out"):
        assert len(studio.post("open-text", text=text, name="a.yaml")["diagram"]["nodes"]) == 8
    studio.post("open", source="in.yaml")


def test_the_weights_of_a_run_lie_in_the_workspace(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("other") / "best.safetensors"
    regard.save(regard.load("odd-one-out"), outside)
    (studio.workspace / "run").mkdir()
    (studio.workspace / "run" / "best.safetensors").symlink_to(outside)
    assert "leads out" in studio.post("open", status=422, source="run")["what"]


def test_nothing_to_correct_is_said(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    assert "nothing to correct" in studio.post("correct", status=422, lines=[3])["what"]


@pytest.mark.parametrize("name", ["con", "a\nb", "x" * 200, "a:b", ".."])
def test_a_file_has_a_name_that_every_system_accepts(name: str, studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    assert "no name" in studio.post("save", status=422, form="yaml", name=name)["what"]
    assert list(studio.workspace.iterdir()) == []


def test_links_out_of_the_workspace_are_not_listed(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    other: Path = tmp_path_factory.mktemp("other")
    (other / "m.yaml").write_text(read_spec("odd-one-out").to_yaml())
    (studio.workspace / "in.yaml").symlink_to(other / "m.yaml")
    (studio.workspace / "folder").symlink_to(other)
    assert studio.get("files")["models"] == []
    studio.post("open", status=422, source="in.yaml")
    studio.post("open", status=422, source="folder/m.yaml")


def test_two_models_are_compared_as_by_diff(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("edit", kind="insert", layer="p4", module="SE")
    found = studio.post("diff", a="odd-one-out", b="")
    by_api = regard.diff("odd-one-out", studio.bench.state.built)
    assert found["names"] == ["odd-one-out", "odd-one-out"]
    assert [layer["change"] for layer in found["layers"]] == [layer.change for layer in by_api.layers]
    assert (found["tensors"]["kept"], found["tensors"]["total"]) == (by_api.tensors.kept, by_api.tensors.total)
    assert found["costs"]["flops"] == list(by_api.costs.flops)
    assert len(found["b"]["nodes"]) == len(found["a"]["nodes"]) + 1
    studio.post("diff", status=422, a="../x.pt", b="")
    assert studio.get("receptive")["p4.se"] is None


@pytest.mark.parametrize("body", [b"{", b"nonsense", bytes((0xFF, 0xFE)), b"[1, 2]", b""])
def test_a_body_that_is_no_question_is_an_error_of_ours(body: bytes, studio: Any) -> None:
    headers = {**studio.headers, "content-type": "application/json"}
    answer = studio.client.post("/api/open", headers=headers, content=body)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"what", "file", "line", "expected", "hint"}
    missing = studio.client.get("/api/nowhere", headers=studio.headers)
    assert (missing.status_code, "what" in missing.json()) == (404, True)


def test_a_module_is_counted_with_its_options(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    asked = {"after": "p4", "module": "SE"}
    found = studio.post("catalogue/cost", **asked, options={"reduction": "8"})
    edited = regard.insert(studio.bench.state.built, "SE", after="p4", options={"reduction": 8}, gate=False)
    assert found["parameters"] == sum(p.numel() for p in edited.layer("p4.se").parameters())
    assert studio.post("catalogue/cost", **asked)["parameters"] != found["parameters"]
    for options in ({"reduction": 0}, {"reduction": "x"}, {"nonsense": 3}):
        assert studio.post("catalogue/cost", **asked, options=options)["obstacle"]
    studio.post("catalogue/cost", status=422, after="p4", module="nonsense")


def test_the_latency_of_an_edit_is_predicted(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    before = studio.get("latency")
    assert before["edited"] == pytest.approx(before["base"])
    studio.post("edit", kind="insert", layer="p3", module="GAM")
    after = studio.get("latency")
    assert (after["base"], after["edited"] > before["edited"]) == (before["base"], True)


def test_a_measurement_is_the_new_base_of_the_prediction(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("edit", kind="insert", layer="p4", module="SE")
    first = studio.get("latency")
    timed = studio.post("cost")
    after = studio.get("latency")
    assert after["base"] == pytest.approx(timed["base_total"])
    assert after["edited"] / after["base"] == pytest.approx(first["edited"] / first["base"])
    studio.post("undo")
    timed = studio.post("cost")
    assert studio.get("latency")["base"] == pytest.approx(timed["total"])


def test_every_module_has_its_picture(studio: Any) -> None:
    names = [entry["name"] for entry in studio.get("catalogue")]
    missing = [name for name in names if not (PAGE / "patterns" / f"{name}.webp").is_file()]
    assert missing == [], "run `python studio/make_patterns.py` and build the page"
