from __future__ import annotations

import pytest
import torch

from regard.config import TrainSettings, checked
from regard.errors import RegardError
from regard.training.precision import FABRIC, resolve


@pytest.mark.parametrize("asked", FABRIC)
@pytest.mark.parametrize("accelerator", ["cpu", "cuda", "mps"])
def test_what_is_asked_for_is_given(asked: str, accelerator: str) -> None:
    if (asked, accelerator) == ("fp16", "cpu"):
        with pytest.raises(RegardError, match="fp16"):
            resolve("fp16", "cpu")
        return
    assert resolve(asked, accelerator) == asked  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_bf16": False, "avx512_f": True}, "32"),
        ({}, "32"),
    ],
)
def test_auto_follows_the_processor(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve("auto", "cpu") == expected
    assert resolve("auto", "mps") == "32"


def test_a_torch_that_cannot_tell_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve("auto", "cpu") == "32"


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16"), (False, "32")])
def test_auto_follows_the_gpu(monkeypatch: pytest.MonkeyPatch, supported: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    assert resolve("auto", "cuda") == expected


def test_every_precision_of_the_settings_has_a_meaning() -> None:
    for name in (*FABRIC, "auto"):
        assert checked(TrainSettings, {"precision": name}).precision == name
