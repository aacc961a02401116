"""The name of a device is resolved in one place."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch

from regard.errors import RegardError
from regard.system.device import choose_device, has_cuda_device


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


NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE, with which cuInit answers where there is a driver and nothing to drive."""


class Driver:
    """Answers as libcuda does."""

    def __init__(self, initialised: int, devices: int) -> None:
        self.initialised, self.devices = initialised, devices

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.initialised

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.devices
        return 0


@pytest.mark.parametrize(
    ("driver", "there"),
    [(None, False), (Driver(NO_DEVICE, 1), False), (Driver(0, 0), False), (Driver(0, 1), True), (Driver(0, 8), True)],
)
def test_a_driver_without_a_device_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, there: bool
) -> None:
    def load(name: str) -> Driver:
        if driver is None or name != "libcuda.so.1":
            raise OSError(name)
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert has_cuda_device() == there
