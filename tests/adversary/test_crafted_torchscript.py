"""A TorchScript file that overwrites another file while it is loaded, and everything that opens models."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import run

import regard
from regard.errors import RegardError

SCENES = "synthetic:context?train=2&val=2&test=1"
VICTIM = "precious!"


class Overwrites(torch.nn.Module):
    """Overwrites the file ``victim.txt`` of the working folder whenever it is loaded."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.flatten(1).unsqueeze(2)[:, :1, :1].expand(-1, 1, 4), images.flatten(1).unsqueeze(2)[
            :, :1, :1
        ].expand(-1, 1, 2)

    @torch.jit.export
    def __getstate__(self) -> bool:
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        overwritten = torch.from_file("victim.txt", True, 9, dtype=torch.uint8).fill_(88)
        self.training = state and bool(overwritten.any())


@pytest.fixture
def crafted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with ``evil.torchscript``, which has the header of a file that regard wrote."""
    monkeypatch.chdir(tmp_path)
    regard.export(regard.load("odd-one-out"), "sound.torchscript", imgsz=64)
    extra = {"regard": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load("sound.torchscript", _extra_files=extra)
        torch.jit.save(torch.jit.script(Overwrites()), "evil.torchscript", _extra_files=extra)
    (tmp_path / "victim.txt").write_text(VICTIM)
    (tmp_path / "images").mkdir()
    return tmp_path


IMAGE = np.zeros((64, 64, 3), np.uint8)
PYTHON: dict[str, Callable[[bool], object]] = {
    "predict": lambda trust: regard.predict("evil.torchscript", IMAGE, imgsz=64, trust=trust),
    "val": lambda trust: regard.val("evil.torchscript", SCENES, imgsz=64, trust=trust),
}


@pytest.mark.parametrize("call", PYTHON)
def test_nothing_runs_unless_it_is_trusted(call: str, crafted: Path) -> None:
    with pytest.raises(RegardError, match="--trust"):
        PYTHON[call](False)
    assert (crafted / "victim.txt").read_text() == VICTIM
    PYTHON[call](True)
    assert (crafted / "victim.txt").read_text() == "XXXXXXXXX"


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "evil.torchscript", "images"),
        ("val", "evil.torchscript", "--data", SCENES),
        ("summary", "evil.torchscript"),
        ("cost", "evil.torchscript"),
        ("export", "evil.torchscript", "-o", "made.onnx"),
        ("export", "odd-one-out", "--weights", "evil.torchscript", "-o", "made.onnx"),
        ("attend", "evil.torchscript", "images", "--layer", "p3"),
        ("train", "evil.torchscript", "--data", SCENES),
        ("ablate", "--base", "odd-one-out", "--weights", "evil.torchscript", "--data", SCENES, "--noise"),
        ("predict", "evil.pt", "images"),
        ("predict", "images", "images"),
    ],
)
def test_no_command_runs_it(command: tuple[str, ...], crafted: Path) -> None:
    (crafted / "evil.pt").write_bytes((crafted / "evil.torchscript").read_bytes())
    (crafted / "images" / "best.torchscript").write_bytes((crafted / "evil.torchscript").read_bytes())
    assert run(*command) == 2
    assert (crafted / "victim.txt").read_text() == VICTIM


def test_the_command_takes_trust(crafted: Path) -> None:
    assert run("val", "evil.torchscript", "--data", SCENES, "--imgsz", "64", "--trust") == 0
    assert (crafted / "victim.txt").read_text() != VICTIM


def test_a_file_in_the_place_of_a_known_one_is_not_known(crafted: Path) -> None:
    regard.predict("sound.torchscript", IMAGE, imgsz=64)
    (crafted / "sound.torchscript").write_bytes((crafted / "evil.torchscript").read_bytes())
    with pytest.raises(RegardError, match="--trust"):
        regard.predict("sound.torchscript", IMAGE, imgsz=64)
    assert (crafted / "victim.txt").read_text() == VICTIM


def test_a_compiled_model_exchanged_in_the_cache_does_not_run(crafted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(crafted / "cache"))
    regard.save(regard.load("odd-one-out"), "a.safetensors")
    regard.predict("a.safetensors", IMAGE, imgsz=64, backend="torchscript")
    (model,) = (crafted / "cache").rglob("model.torchscript")
    facts = model.with_name("entry.json")
    from regard.runtimes.base import file_digest

    before = file_digest(model)
    model.write_bytes((crafted / "evil.torchscript").read_bytes())
    facts.write_text(facts.read_text().replace(before, file_digest(model)))
    with pytest.warns(regard.RegardWarning, match="runs in PyTorch"):
        regard.predict("a.safetensors", IMAGE, imgsz=64, backend="torchscript")
    assert (crafted / "victim.txt").read_text() == VICTIM
