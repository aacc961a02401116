"""The one choice of a device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``1`` or ``mps``."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from regard.errors import RegardError, nearest

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
CUDA_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


def choose_device(name: str = "auto") -> torch.device:
    """Resolve the name of a device; ``auto`` is CUDA where torch sees it, else Apple's MPS, else the CPU.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N", "N" (the same as "cuda:N") or "mps".

    Raises:
        RegardError: the name is unknown, or torch does not see such a device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    import torch

    kind, _, number = ("cuda", "", name) if name.isdigit() else name.partition(":")
    if kind == "auto" and not number:
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind not in DEVICES[1:] or (number and not (kind == "cuda" and number.isdigit())):
        expected = "auto, cpu, cuda, cuda:N, N or mps"
        raise RegardError(f"there is no device {name!r}", expected=expected, hint=nearest(name, DEVICES))
    if kind == "cuda" and not torch.cuda.is_available():
        raise RegardError(
            f"device {name!r} is asked for, and torch sees no CUDA device",
            hint="use --device cpu (in Python: device='cpu')",
        )
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        expected = f"one of 0 to {torch.cuda.device_count() - 1}"
        raise RegardError(f"there is no CUDA device {number}", expected=expected)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RegardError(
            "device 'mps' is asked for, and torch sees none", hint="use --device cpu (in Python: device='cpu')"
        )
    return torch.device(kind, int(number)) if number else torch.device(kind)


def has_cuda_device() -> bool:
    """Whether the CUDA driver sees a device, without importing torch; containers often have a driver and no device."""
    for name in CUDA_DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return False
