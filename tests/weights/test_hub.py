"""Addresses of the Hub: what they name, and what is not one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from regard.errors import RegardError
from regard.weights.hub import DEFAULT_FILE, is_hub, local_file, parse_address, reason_of, reject_hub, status_of


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


@pytest.mark.parametrize(("status", "said"), [(429, True), (500, True), (503, True), (404, False), (None, False)])
def test_an_answer_about_the_server_is_the_reason_also_behind_other_errors(status: int | None, said: bool) -> None:
    cause = OSError("no answer")
    if status is not None:
        cause.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    error = OSError("check your connection")
    error.__cause__ = RuntimeError("between")
    error.__cause__.__context__ = cause
    assert status_of(error) == status
    assert reason_of(error) == (f"the server answered with status {status}; try again later" if said else str(error))
