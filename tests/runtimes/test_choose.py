"""Where a detector runs when nobody says: what the CUDA driver sees decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.runtimes import choose, open_predictor
from regard.runtimes.base import Session


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("there", [False, True])
def test_auto_is_the_compiled_model_where_there_is_no_gpu(
    weights: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(choose, "has_cuda_device", lambda: there)
    assert isinstance(open_predictor(weights, device="auto", backend="onnxruntime"), Session) == (not there)
