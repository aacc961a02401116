"""Where a detector runs when nobody says: what the CUDA driver sees decides."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from regard.inference import choose, open_finder
from regard.inference.prepared import PreparedFinder

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
    assert choose._has_cuda_device() == there


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("there", [False, True])
def test_auto_is_the_prepared_model_where_there_is_no_gpu(
    weights: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(choose, "_has_cuda_device", lambda: there)
    assert isinstance(open_finder(weights, device="auto", backend="onnxruntime"), PreparedFinder) == (not there)
