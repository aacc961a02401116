"""The name of a device is resolved in one place."""

from __future__ import annotations

import pytest
import torch

from regard.errors import RegardError
from regard.system.device import choose_device


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_prefers_cuda_then_mps(cuda: bool, mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(chosen)


def test_a_number_is_a_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert choose_device("2") == choose_device("cuda:2") == torch.device("cuda", 2)
    with pytest.raises(RegardError, match="no CUDA device 3"):
        choose_device("cuda:3")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "auto:0", "", "mps:1", "cuda"])
def test_what_is_not_there_is_one_clear_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RegardError):
        choose_device(name)
