"""Addresses of the Hub: what they name, and what is not one."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.weights.hub import DEFAULT_FILE, is_hub, local_file, parse_address, reject_hub


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hf://me/cells", ("me/cells", None, DEFAULT_FILE)),
        ("hf://me/cells@v1.2", ("me/cells", "v1.2", DEFAULT_FILE)),
        ("hf://me/cells/a/b.pt", ("me/cells", None, "a/b.pt")),
        ("hf://a-b.c/d_e@0f/x.onnx", ("a-b.c/d_e", "0f", "x.onnx")),
    ],
)
def test_an_address_names_repository_revision_and_file(source: str, parts: tuple[str, str | None, str]) -> None:
    assert parse_address(source) == parts


@pytest.mark.parametrize(
    "source",
    [
        "hf://",
        "hf://me",
        "hf://me/",
        "hf://me/cells/x.py",
        "hf://me/cells/../x.pt",
        "hf://me/cells//x.pt",
        "hf://me/cells/a/./x.pt",
        "hf://me/cells/..\\..\\x.pt",
        "hf://me/cells/C:/x.pt",
        "hf://me/cells/\x1b[31m.pt",
        "hf://me/cells@../x.pt",
        "hf://me/ce lls",
        "hf://me/cells@/x.pt",
    ],
)
def test_what_is_malformed_or_no_model_is_rejected(source: str) -> None:
    with pytest.raises(RegardError):
        parse_address(source)  # before anything is asked
    with pytest.raises(RegardError):
        local_file(source)


def test_anything_else_stays_as_it_is() -> None:
    for source in ("yolov5n", "hf:/me/cells", Path("hf://me/cells"), 7, None):
        assert local_file(source) is source
        assert not is_hub(source)
        reject_hub(source)
    with pytest.raises(RegardError):
        reject_hub("hf://me/cells")
