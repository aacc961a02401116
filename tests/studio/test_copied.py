"""Commands and scripts to copy start from the file that is open, as long as it is what is edited."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi")

import regard
from regard.api.edits import Edit, recipe
from regard.graph.renumber import integer_yaml

SE = {"kind": "insert", "layer": "p4", "module": "SE"}
BASE = "base: odd-one-out\n"


def commands(studio: Any) -> str:
    return str(studio.post("edit", **SE)["recipe"]["commands"])


def test_a_dropped_text_is_named_only_where_it_is_the_file_of_the_workspace(studio: Any) -> None:
    studio.post("open-text", text=BASE, name="a.yaml")
    assert not commands(studio)
    (studio.workspace / "a.yaml").write_text("base: yolov5n\n")
    studio.post("open-text", text=BASE, name="a.yaml")
    assert not commands(studio)
    (studio.workspace / "a.yaml").write_text(BASE)
    studio.post("open-text", text=BASE, name="a.yaml")
    assert "regard insert a.yaml SE" in commands(studio)


def test_a_corrected_file_is_not_what_was_edited(studio: Any) -> None:
    text = integer_yaml(regard.insert(regard.load("yolov5n"), "SE", after="sppf", gate=False).spec)
    (studio.workspace / "a.yaml").write_text(text.replace("[[-1, 15], 1, Concat, [1]]", "[[-1, 14], 1, Concat, [1]]"))
    opened = studio.post("open", source="a.yaml")
    studio.post("correct", lines=[one["line"] for one in opened["findings"] if not one["note"]])
    assert not commands(studio)
    for _ in range(2):
        studio.post("undo")
    assert "a.yaml" in commands(studio)


@pytest.mark.parametrize("source", ["odd-one-out", "a.safetensors"])
def test_a_file_that_was_replaced_is_not_what_was_edited(source: str, studio: Any) -> None:
    if source != "odd-one-out":
        regard.save(regard.load("odd-one-out"), studio.workspace / source)
    studio.post("open", source=source)
    assert source in commands(studio)
    studio.post("save", form="safetensors", name="a", overwrite=True)
    shown = studio.get("state")["recipe"]
    assert bool(shown["commands"]) is ("regard.load(" in shown["python"]) is (source == "odd-one-out")


def test_an_overlay_does_not_replace_its_base(studio: Any) -> None:
    file = studio.workspace / "a.yaml"
    file.write_text(BASE)
    studio.post("open", source="a.yaml")
    studio.post("edit", **SE)
    assert "based on" in studio.post("save", status=422, form="overlay", name="a", overwrite=True)["what"]
    assert file.read_text() == BASE
    studio.post("save", form="overlay", name="b")
    assert regard.load(studio.workspace / "b.yaml").spec.layer("p4.se")


def test_a_file_without_the_gates_is_another_network(studio: Any) -> None:
    studio.post("open", source="odd-one-out")
    studio.post("edit", **SE)
    assert studio.post("save", form="integers", name="a", ungated=True)["unsaved"]
    assert studio.get("state")["unsaved"]
    assert not studio.post("save", form="yaml", name="b")["unsaved"]
    assert not studio.get("state")["unsaved"]


def test_what_a_command_reads_is_no_option_and_not_what_it_writes() -> None:
    one = [Edit("insert", "p4", "SE")]
    assert recipe(one, "-x.pt").commands.startswith("regard insert ./-x.pt SE")
    again = recipe(one, "edited.safetensors")
    assert "edited.safetensors" not in again.commands.rpartition(" ")[2]
    assert again.commands.rpartition(" ")[2] in again.python
