"""The one OpenVINO core of a process."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def openvino_core() -> Any:
    """Return the ``openvino.Core`` of this process, made on the first call and never taken down.

    Each core that is made gives its thread an alternate stack for signals, and hands back the one before when it goes
    (OpenVINO 2026.4). Where an earlier core has gone first that stack is no longer there, and the next signal, such as
    that of a child that ends, kills the process without a word.
    """
    import openvino

    return openvino.Core()
