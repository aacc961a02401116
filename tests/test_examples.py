"""The examples in docstrings run and give the results that they state."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import regard

SOURCE = Path(regard.__file__).parent
MODULES = sorted(
    ".".join(("regard", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for file in SOURCE.rglob("*.py")
    if ">>>" in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    result = doctest.testmod(module, extraglobs={"regard": regard}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed


def test_every_public_function_has_an_example() -> None:
    functions = {name: getattr(regard, name) for name in regard.__all__ if inspect.isfunction(getattr(regard, name))}
    without = [name for name, function in functions.items() if ">>>" not in (function.__doc__ or "")]
    assert not without
