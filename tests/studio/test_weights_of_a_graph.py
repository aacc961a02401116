"""A graph without weights, which is given those of a file of the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import torch

import regard

GRAPH = "base: odd-one-out\n"
SE = {"kind": "insert", "layer": "p4", "module": "SE"}


def trained(file: Path) -> Any:
    model = regard.load("odd-one-out")
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(0.25)
    regard.save(model, file)
    return model


def test_a_graph_is_given_weights_and_keeps_its_edits(studio: Any) -> None:
    model = trained(studio.workspace / "a.safetensors")
    (studio.workspace / "mine.yaml").write_text(GRAPH)
    opened = studio.post("open-text", text=GRAPH, name="mine.yaml")
    assert (opened["trained"], opened["given"]) == (False, None)
    assert studio.get("files")["weights"] == ["a.safetensors"]
    studio.post("edit", **SE)
    given = studio.post("weights", source="a.safetensors")
    tensors = len(model.state_dict())
    assert given["trained"]
    assert (given["given"]["file"], given["given"]["kept"], given["given"]["tensors"]) == (
        "a.safetensors",
        tensors,
        tensors,
    )
    expected = regard.weights.detector.with_weights(
        regard.load("odd-one-out"), studio.workspace / "a.safetensors", None
    )
    assert given["given"]["report"] == [line.strip() for line in expected[1].to_text().splitlines()]
    assert given["unsaved"]
    assert given["difference"]["kept"] == given["difference"]["tensors"] == tensors
    assert torch.equal(studio.bench.state.built.layer("p4").cv1.conv.weight, model.layer("p4").cv1.conv.weight)
    assert "--weights a.safetensors" in given["recipe"]["commands"]
    assert "weights='a.safetensors'" in given["recipe"]["python"]
    studio.post("undo")
    studio.post("undo")
    before = studio.post("undo")
    assert (before["trained"], before["given"], before["edits"]) == (False, None, [])
    assert not torch.equal(studio.bench.state.built.layer("p4").cv1.conv.weight, model.layer("p4").cv1.conv.weight)


def test_weights_of_which_none_match_leave_a_graph_random(studio: Any) -> None:
    trained(studio.workspace / "a.safetensors")
    studio.post("open-text", text="base: yolov8n\n", name="mine.yaml")
    given = studio.post("weights", source="a.safetensors")
    found = given["given"]
    assert given["trained"] is (found["kept"] + found["partly"] > 0)
    assert found["kept"] < found["tensors"]


def test_only_weights_of_the_workspace_are_given(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    trained(outside / "a.safetensors")
    studio.post("open-text", text=GRAPH, name="mine.yaml")
    (studio.workspace / "b.yaml").write_text(GRAPH)
    (studio.workspace / "run").mkdir()
    links = {
        "link.safetensors": outside / "a.safetensors",
        "folder": outside,
        "run/best.safetensors": outside / "a.safetensors",
    }
    for name, target in links.items():
        (studio.workspace / name).symlink_to(target)
    wrong = ["../outside/a.safetensors", str(outside / "a.safetensors"), "folder/a.safetensors", "run", *links]
    for source in (*wrong, "b.yaml", "yolov5n", "hf://owner/name", "\0", "run/../../a.safetensors"):
        fault = studio.post("weights", status=422, source=source)
        assert fault["what"], source
    assert studio.get("state")["given"] is None
    assert studio.get("files")["weights"] == []
    for headers in ({}, {**studio.headers, "host": "evil"}, {**studio.headers, "origin": "http://evil"}):
        answer = studio.client.post("/api/weights", json={"source": "link.safetensors"}, headers=headers)
        assert answer.status_code in (401, 403)
