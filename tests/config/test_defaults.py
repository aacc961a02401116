"""Every default is written once: no signature in the package repeats the default of a setting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import regard.config
from regard.config import ExportSettings, PredictSettings, Settings, TrainSettings, ValSettings

SOURCE = Path(regard.config.__file__).parents[1]
KINDS: tuple[type[Settings], ...] = (TrainSettings, ValSettings, PredictSettings, ExportSettings)
OTHERS = SOURCE / "diagnosis" / "packages"
"""Settings of other packages, which happen to have the same defaults."""
DEFAULTS = {(name, field.default) for kind in KINDS for name, field in kind.model_fields.items()}


def repeated(source: str) -> Iterator[str]:
    """Yield each parameter, or field of a class, whose default is the number or word of a setting of that name."""
    for node in ast.walk(ast.parse(source)):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            arguments = node.args
            plain = [*arguments.posonlyargs, *arguments.args]
            pairs += [(a.arg, d) for a, d in zip(reversed(plain), reversed(arguments.defaults), strict=False)]
            pairs += [(a.arg, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
        if isinstance(node, ast.ClassDef):
            pairs += [
                (
                    line.target.id,
                    line.value.args[0] if isinstance(line.value, ast.Call) and line.value.args else line.value,
                )
                for line in node.body
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
            ]
        for name, default in pairs:
            if isinstance(default, ast.Constant) and _is_telling(default.value) and (name, default.value) in DEFAULTS:
                yield f"{name} = {default.value!r}, line {default.lineno}"


def _is_telling(value: object) -> bool:
    """Whether equal values are more than chance: False, None, "" and 0 stand for "nothing" in any signature."""
    return isinstance(value, int | float | str) and not isinstance(value, bool) and bool(value)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_signature_repeats_the_default_of_a_setting(file: Path) -> None:
    if file != SOURCE / "config" / "commands.py" and OTHERS not in file.parents:
        assert list(repeated(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, imgsz=640): pass",
        "def f(*, conf: float = 0.001): pass",
        "class Plan:\n    imgsz: int = Field(640, ge=32)",
        "class Plan:\n    patience: int = 100",
    ],
)
def test_a_repeated_default_is_noticed(source: str) -> None:
    assert list(repeated(source))
    assert not list(repeated(source.replace("640", "641").replace("0.001", "0.002").replace("100", "101")))
