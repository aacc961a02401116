"""No text of pydantic reaches a user: every fault of every field is reported in the project's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from regard.ablate.plan import Plan, make_plan, read_plan
from regard.config import ExportSettings, PredictSettings, Recipe, Settings, TrainSettings, ValSettings, checked
from regard.config.base import fields_of
from regard.config.faults import first_fault
from regard.errors import RegardError

KINDS: tuple[type[Settings], ...] = (TrainSettings, ValSettings, PredictSettings, ExportSettings, Recipe)
THEIRS = re.compile(
    r"Input should|should be|should have|Value error|Assertion failed|valid (integer|number|string|boolean)|"
    r"Field required|Extra inputs|greater than|less than|pydantic|validation error|unable to parse"
)
ODD: tuple[Any, ...] = ("few", -1, 1.5, 10**9, float("nan"), [], [[]], {}, {"a": 1}, None, object(), True, b"x", "")


def faults(kind: type[Settings]) -> Iterator[RegardError]:
    for name in fields_of(kind):
        for value in ODD:
            try:
                checked(kind, {"name": "x", name: value} if kind is Recipe else {name: value})
            except RegardError as error:
                yield error


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_a_setting_names_it_and_what_is_expected(kind: type[Settings]) -> None:
    found = list(faults(kind))
    assert len(found) > 2 * len(fields_of(kind))
    for error in found:
        assert not THEIRS.search(str(error)), str(error)
        assert error.expected or error.hint, str(error)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (TrainSettings, {"epochs": 0}, ["epochs is 0", "expected: at least 1"]),
        (TrainSettings, {"epochs": "many"}, ["epochs is 'many'", "expected: a whole number"]),
        (TrainSettings, {"precision": "bf61"}, ["precision is 'bf61'", "one of 32, bf16, fp16, auto", "mean 'bf16'"]),
        (TrainSettings, {"freeze": ["p3", None]}, ["freeze[1] is None", "expected: a word"]),
        (TrainSettings, {"plots": "perhaps"}, ["plots is 'perhaps'", "expected: true or false"]),
        (ValSettings, {"conf": 2}, ["conf is 2", "expected: at most 1"]),
        (Recipe, {"name": "x", "augment": {"mosaic": -1}}, ["augment.mosaic is -1", "expected: at least 0"]),
        (Recipe, {"name": "x", "optim": 3}, ["optim is 3", "expected: a mapping"]),
        (Recipe, {"name": "x", "optim": {"lrr": 3}}, ["optim.lrr is unknown"]),
        (Recipe, {}, ["name is missing"]),
    ],
)
def test_calls_and_checks_tell_the_same(kind: type[Settings], values: dict[str, Any], words: list[str]) -> None:
    for make in (lambda: checked(kind, values), lambda: kind(**values)):
        with pytest.raises(RegardError) as error:
            make()
        assert all(word in str(error.value) for word in words), str(error.value)


class Other(BaseModel):
    """Kinds of faults that no setting has today."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(3, multiple_of=3)
    word: str = Field("ab", min_length=2, max_length=4, pattern="a.*")
    level: Literal[1, 2] = 1
    sizes: tuple[int, int] = (1, 2)
    several: int | list[int] = 1
    names: dict[int, str] = {}
    folder: Path = Path()


@pytest.mark.parametrize(
    ("values", "reported"),
    [
        ({"count": 4}, "count is 4\n  expected: a multiple of 3"),
        ({"word": "a"}, "word is 'a'\n  expected: at least 2 characters"),
        ({"word": "abcde"}, "word is 'abcde'\n  expected: at most 4 characters"),
        ({"word": "bcd"}, "word is 'bcd'\n  expected: a word of the form a.*"),
        ({"level": 3}, "level is 3\n  expected: one of 1, 2"),
        ({"sizes": (1,)}, "sizes[1] is missing\n  expected: a value"),
        ({"several": "x"}, "several is 'x'\n  expected: a whole number or a list"),
        ({"names": {"x": "y"}}, "names.x.[key] is 'x'\n  expected: a whole number"),
        ({"folder": 3}, "folder is 3\n  expected: a path"),
        ({"folders": 3}, "folders is unknown\n  expected: the name of a field"),
    ],
)
def test_other_kinds_of_faults(values: dict[str, Any], reported: str) -> None:
    with pytest.raises(ValidationError) as error:
        Other.model_validate(values)
    assert str(first_fault(error.value).error()) == reported


def test_every_fault_that_pydantic_knows_of_a_plain_value_has_words() -> None:
    for hint in (int, float, bool, str, Path, list[int], tuple[int, ...], dict[str, int], set[int], Literal["a"], None):
        for value in ODD:
            try:
                TypeAdapter(hint).validate_python(value, strict=True)
            except ValidationError as error:
                fault = first_fault(error)
                assert fault.expected
                assert not THEIRS.search(str(fault.error()))


def test_a_plan_tells_the_same_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("base: odd-one-out\ndata: synthetic:context\nnoise: true\nmde: -1\n")
    with pytest.raises(RegardError) as error:
        read_plan(file)
    assert str(error.value) == f"{file}:4: mde is -1\n  expected: above 0"
    for name in fields_of(Plan):
        for value in ODD:
            text = ""
            try:
                make_plan({"base": "odd-one-out", "data": "synthetic:context", "noise": True, name: value})
            except RegardError as fault:
                text = str(fault)
            assert not THEIRS.search(text), text


def test_an_unknown_name_deep_inside_is_answered_by_the_nearest() -> None:
    with pytest.raises(RegardError, match=r"(?s)optim.warmup_epoch is unknown.*'warmup_epochs'"):
        Recipe(optim={"warmup_epoch": 3})  # type: ignore[arg-type]
    plan = {"base": "a", "data": "b", "insert": ["SE@p4"], "recipe": {"name": "x", "optim": {"lrr": 0.1}}}
    with pytest.raises(RegardError, match=r"(?s)recipe.optim.lrr is unknown.*'lr'"):
        make_plan(plan)
