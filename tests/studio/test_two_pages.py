"""Two pages on one model, edits that are in no file, and files that are gone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import regard
from regard.graph.renumber import integer_yaml
from regard.graph.user_modules import import_modules

SE = {"kind": "insert", "layer": "p4", "module": "SE"}


def asked(studio: Any, version: int, path: str, **question: Any) -> Any:
    headers = {**studio.headers, "x-regard-version": str(version)}
    return studio.client.post(f"/api/{path}", headers=headers, json=question)


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("save", {"form": "safetensors", "name": "mine"}),
        ("edit", SE),
        ("undo", {}),
        ("open", {"source": "odd-one-out"}),
        ("detect", {"image": "x"}),
        ("train", {"name": "a", "data": "synthetic:context"}),
        ("data/errors", {}),
    ],
)
def test_a_page_that_shows_another_model_changes_and_saves_nothing(path: str, question: Any, studio: Any) -> None:
    shown = studio.post("open", source="odd-one-out")
    other = studio.post("edit", **SE)
    assert other["version"] != shown["version"]
    assert studio.get("version") == other["version"]
    assert asked(studio, shown["version"], path, **question).status_code == 409
    assert studio.get("state") == other
    assert list(studio.workspace.iterdir()) == []
    assert asked(studio, other["version"], "undo").status_code == 200


def test_what_is_in_no_file_is_known(studio: Any) -> None:
    assert not studio.post("open", source="odd-one-out")["unsaved"]
    assert studio.post("edit", **SE)["unsaved"]
    studio.post("save", form="overlay", name="mine")
    assert not studio.get("state")["unsaved"]
    assert studio.post("edit", kind="remove", layer="p3")["unsaved"]
    assert not studio.post("undo")["unsaved"]
    assert not studio.post("undo")["unsaved"]  # the model as it was opened
    assert not studio.post("redo")["unsaved"]
    assert studio.post("edit", kind="insert", layer="p4", module="ECA")["unsaved"]


def test_a_corrected_file_is_unsaved(studio: Any) -> None:
    text = integer_yaml(regard.insert(regard.load("yolov5n"), "SE", after="sppf", gate=False).spec)
    wrong = text.replace("[[-1, 15], 1, Concat, [1]]", "[[-1, 14], 1, Concat, [1]]")
    opened = studio.post("open-text", text=wrong, name="mine.yaml")
    assert not opened["unsaved"]
    lines = [one["line"] for one in opened["findings"] if not one["note"]]
    assert studio.post("correct", lines=lines)["unsaved"]
    inserted = studio.post("edit", kind="insert", layer="sppf", module="ECA")
    assert inserted["difference"]["kept"] == inserted["difference"]["tensors"]  # compared with the corrected model
    (studio.workspace / "mine.yaml").write_text(wrong)
    assert studio.post("save", status=422, form="overlay", name="over")["what"]  # its base would be the wrong file
    studio.post("undo")
    undone = studio.post("undo")
    assert (undone["text"], undone["findings"], undone["undo"]) == (wrong, opened["findings"], False)
    assert studio.post("redo")["text"] == text


def test_a_miswired_file_of_the_workspace_is_opened_as_a_dropped_one(studio: Any) -> None:
    text = integer_yaml(regard.insert(regard.load("yolov5n"), "SE", after="sppf", gate=False).spec)
    wrong = text.replace("[[-1, 15], 1, Concat, [1]]", "[[-1, 14], 1, Concat, [1]]")
    (studio.workspace / "mine.yaml").write_text(wrong)
    opened = studio.post("open", source="mine.yaml")
    dropped = studio.post("open-text", text=wrong, name="mine.yaml")
    assert opened["findings"] == dropped["findings"] != []
    assert opened["text"] == wrong
    (studio.workspace / "none.yaml").write_text("backbone: 3\n")
    assert studio.post("open", status=422, source="none.yaml")["what"]
    assert studio.get("state")["source"] == "mine.yaml"


def test_a_model_whose_file_is_deleted_stays_usable(studio: Any) -> None:
    file: Path = studio.workspace / "a.safetensors"
    regard.save(regard.load("odd-one-out"), file)
    studio.post("open", source=file.name)
    file.unlink()
    assert studio.post("edit", **SE)["difference"]["kept"]
    studio.post("save", form="safetensors", name="b")
    assert regard.load(studio.workspace / "b.safetensors").spec.layer("p4.se")
    assert "a.safetensors" in studio.post("open", status=422, source=file.name)["what"]
    assert studio.get("state")["edits"]


@pytest.mark.parametrize("name", ["mine", "deep/mine"])
def test_an_overlay_of_a_file_finds_it_or_is_not_written(name: str, studio: Any) -> None:
    file: Path = studio.workspace / "sub" / "own.yaml"
    file.parent.mkdir()
    (studio.workspace / "deep").mkdir()
    file.write_text(regard.load("odd-one-out").spec.to_yaml().replace("[256]]", "[320]]"))
    studio.post("open", source="sub/own.yaml")
    studio.post("edit", **SE)
    path = studio.workspace / studio.post("save", form="overlay", name=name)["path"]
    assert regard.load(path).spec == studio.bench.state.spec
    file.unlink()
    fault = studio.post("save", status=422, form="overlay", name=f"{name}-2")
    assert "own.yaml" in fault["what"] + str(fault["file"])


def test_models_without_weights_are_known(studio: Any) -> None:
    regard.save(regard.load("odd-one-out"), studio.workspace / "a.safetensors")
    (studio.workspace / "b.yaml").write_text("base: odd-one-out\n")
    assert [studio.post("open", source=source)["trained"] for source in ("odd-one-out", "a.safetensors", "b.yaml")] == [
        False,
        True,
        False,
    ]
    assert not studio.post("open-text", text="base: odd-one-out\n", name="c.yaml")["trained"]


def test_a_module_costs_with_its_gate_what_the_model_then_costs_more(studio: Any) -> None:
    base = studio.post("open", source="yolov5n")["diagram"]
    cost = studio.post("catalogue/cost", after="sppf", module="SE", gate=True)
    listed = studio.get("catalogue/costs", params={"after": "sppf", "gate": True})
    assert cost == next(one for one in listed if one["name"] == "SE")
    edited = studio.post("edit", kind="insert", layer="sppf", module="SE")["diagram"]
    assert cost["parameters"] == edited["parameters"] - base["parameters"]
    assert cost["flops"] == round(1e9 * (edited["gflops"] - base["gflops"]))
    node = next(node for node in edited["nodes"] if node["name"] == "sppf.se")
    assert cost["saved_mib"] == pytest.approx(node["cost"]["saved_mib"])


def test_a_warning_of_an_edit_is_answered(studio: Any) -> None:
    studio.post("open", source="yolov8n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regard.replace("yolov8n", "p5", "AreaAttention")
    answered = studio.post("edit", kind="replace", layer="p5", module="AreaAttention")["warnings"]
    assert answered == [
        str(one.message).replace("by -a (in Python: options=)", 'in the form, under "Options"') for one in caught
    ]
    assert answered
    assert studio.post("undo")["warnings"] == []


def test_the_hint_of_a_form_that_has_no_gates_is_that_of_the_page(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("edit", **SE)
    assert "Leave out gates" in studio.post("save", status=422, form="integers", name="a")["hint"]
    assert studio.post("save", form="integers", name="a", ungated=True)["path"] == "a.yaml"


def test_a_users_own_module_is_offered_counted_and_inserted(studio: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n\nclass Scale(torch.nn.Module):\n"
        '    """Scale the channels."""\n\n'
        "    def __init__(self, channels, start=1.0):\n        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.full((channels, 1, 1), start))\n\n"
        "    def forward(self, x):\n        return x * self.weight\n"
    )
    reference = f"{file}:Scale"
    studio.bench.modules, studio.bench._references = import_modules([reference]), [reference]
    studio.post("open", source="odd-one-out")
    entry = studio.get("catalogue")[0]
    assert (entry["name"], entry["family"], entry["summary"]) == ("Scale", "own", "Scale the channels.")
    assert [option["name"] for option in entry["options"]] == ["start"]
    cost = studio.get("catalogue/costs", params={"after": "p4"})[0]
    assert (cost["name"], cost["parameters"], cost["obstacle"]) == ("Scale", 128, "")
    assert studio.post("catalogue/cost", after="p4", module="Scale", gate=True)["parameters"] == 129
    assert "cannot be built" in studio.post("catalogue/cost", after="p4", module="Scale", options={"x": 1})["obstacle"]
    edited = studio.post("edit", kind="insert", layer="p4", module="Scale", options={"start": 2.0})
    assert edited["recipe"]["commands"].endswith("-a start=2.0 --module mine.py:Scale -o edited.safetensors")
    assert "from mine import Scale" in edited["recipe"]["python"]
    assert "regard.insert(model, Scale, after='p4', options={'start': 2.0})" in edited["recipe"]["python"]
