"""Fixtures that every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images, weights and reference numbers beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "README.md").is_file():
        pytest.skip("needs the folder shared/ (real images, weights, reference numbers) beside the checkout")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare nothing that a test does not ask for, and keep nothing in the user's cache."""
    monkeypatch.setenv("REGARD_BACKEND", "torch")
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path_factory.getbasetemp() / "regard-cache"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
