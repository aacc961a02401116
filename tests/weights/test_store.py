"""The project's own files: read back as written, rejected when they are anything else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from regard.errors import RegardError
from regard.weights.store import WeightsHeader, load_state, load_weights, save_state, save_weights

HEADER = WeightsHeader(
    graph="nc: 3\nbackbone: []\n",
    names={0: "紅血球", 1: "WBC"},
    modules={"SE": "attention.py:SE"},
    training={"epochs": 15, "lr": 0.01},
    extra={"metrics": {"AP": 0.5, "AP75": float("inf")}, "gate": [0.1, None]},
)


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    base = torch.randn(5, 7)
    state = {
        "whole": base,
        "shared": base[1:3],
        "transposed": base.T,
        "expanded": base[:, :1].expand(5, 11),
        "parameter": torch.nn.Parameter(base.half()),
        "count": torch.tensor(13),
        "empty": torch.empty(0, 3),
    }
    save_weights(tmp_path / "w.safetensors", state, HEADER)
    loaded, header = load_weights(tmp_path / "w.safetensors")
    assert header == HEADER
    assert loaded.keys() == state.keys()
    for key, tensor in state.items():
        assert loaded[key].dtype == tensor.dtype
        assert torch.equal(loaded[key], tensor)
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_header_is_frozen_and_checked() -> None:
    with pytest.raises(ValidationError):
        HEADER.graph = "other"
    with pytest.raises(ValidationError):
        WeightsHeader.model_validate({"graph": "", "unknown": 1})


def test_a_header_that_is_no_json_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_weights(tmp_path / "w.safetensors", {}, WeightsHeader(graph="", extra={"path": tmp_path}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "from another program"),
        ({"format": "pt"}, "from another program"),
        ({"regard": "{"}, "header in the file is damaged"),
        ({"regard": "[" * 100_000}, "header in the file is damaged"),
        ({"regard": "[]"}, "header in the file is damaged"),
        ({"regard": json.dumps({"graph": 5})}, "header in the file is damaged"),
        ({"regard": json.dumps({"format_version": 2, "new": 1})}, "format version 2"),
    ],
)
def test_weights_that_are_not_ours(metadata: dict[str, str] | None, message: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors", metadata=metadata)
    with pytest.raises(RegardError, match=message):
        load_weights(tmp_path / "w.safetensors")


def test_damaged_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(101)}, HEADER)
    whole = path.read_bytes()
    for content in (b"", whole[:5], whole[:100], whole[:-1], b"<html>", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(RegardError, match="damaged"):
            load_weights(path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="no such file"):
        load_weights(tmp_path / "w.safetensors")
    with pytest.raises(RegardError, match="no such file"):
        load_state(tmp_path / "state.pt")


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 7,
        "rng": torch.get_rng_state(),
        "python": random.getstate(),
        "best": None,
    }
    save_state(tmp_path / "last.pt", state)
    loaded = load_state(tmp_path / "last.pt")
    assert loaded["python"] == state["python"]
    assert torch.equal(loaded["rng"], state["rng"])
    assert torch.equal(loaded["model"]["weight"], model.weight)
    assert loaded["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]


def test_state_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state\['run'\]\[1\] is a PosixPath|WindowsPath"):
        save_state(tmp_path / "last.pt", {"run": [1, tmp_path]})
    assert not list(tmp_path.iterdir())


def test_damaged_state(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, {"a": torch.zeros(101), "b": [1, 2]})
    whole = path.read_bytes()
    random.seed(0)
    for _ in range(50):
        path.write_bytes(whole[: random.randrange(len(whole))])
        with pytest.raises(RegardError, match="training state is damaged"):
            load_state(path)


def test_state_of_other_people(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "list.pt")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    for name in ("list.pt", "module.pt"):
        with pytest.raises(RegardError, match="from another program"):
            load_state(tmp_path / name)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="cannot write"):
        save_state(tmp_path / "absent" / "last.pt", {})


def test_a_file_in_the_place_of_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.safetensors"
    with pytest.raises(RegardError, match="cannot write the file") as caught:
        save_weights(path, {}, WeightsHeader(graph=""))
    assert caught.value.file == path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Log in</html>", "a web page"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"", "an empty file"),
        ((128).to_bytes(8, "little") + b'{"model.0', "truncated"),  # its first byte is that of a pickle
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(RegardError, match=expected):
        load_weights(tmp_path / "model.safetensors")
