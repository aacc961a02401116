"""One field is one keyword argument: in the signature, in the docstring, and for type checkers."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

import regard
from regard.config import Settings, TrainSettings, ValSettings, checked
from regard.config.base import fields_of, range_of
from regard.config.keywords import TrainKeywords
from regard.config.signature import accepts, keyword_type


class Base(Settings):
    conf: float = Field(0.25, ge=0, le=1, description="Smallest score")


class Brewing(Base):
    """A newcomer adds a line to a class like this, and nothing else."""

    litres: int = Field(7, ge=1, description="Amount of water")
    tea: Literal["green", "black"] = Field("green", description="Kind of tea")
    herbs: tuple[str, ...] = Field((), description="Herbs to add")
    save: Path | None = Field(None, description="Where to write the recipe")


@accepts(Brewing)
def brew(pot: str, *, guests: int = 2, **settings: Any) -> dict[str, Any]:
    """Brew.

    Args:
        pot: what to brew in.
        settings: the fields.

    Returns:
        What was given.
    """
    return {"pot": pot, "guests": guests, **settings}


def test_the_signature_shows_every_field_with_its_default() -> None:
    parameters = inspect.signature(brew).parameters
    assert list(parameters) == ["pot", "guests", "litres", "tea", "herbs", "save", "conf"]
    assert {name: parameters[name].default for name in ("litres", "tea", "herbs", "save", "conf")} == {
        "litres": 7, "tea": "green", "herbs": (), "save": None, "conf": 0.25,
    }  # fmt: skip
    assert brew("a", litres=3) == {"pot": "a", "guests": 2, "litres": 3}


def test_the_docstring_describes_every_field() -> None:
    lines = [line.strip() for line in inspect.getdoc(brew).splitlines()]  # type: ignore[union-attr]
    assert "litres: Amount of water (at least 1; default: 7)." in lines
    assert "tea: Kind of tea (one of green, black; default: green)." in lines
    assert "conf: Smallest score (0 to 1; default: 0.25)." in lines
    assert "herbs: Herbs to add." in lines
    assert not any(line.startswith("settings") for line in lines)
    assert lines[-2:] == ["Returns:", "What was given."]


@pytest.mark.parametrize(
    ("function", "kind"), [(regard.train, TrainSettings), (regard.val, ValSettings), (regard.validate, ValSettings)]
)
def test_public_functions_show_their_settings(function: Any, kind: type[Settings]) -> None:
    parameters = inspect.signature(function).parameters
    for name, field in fields_of(kind).items():
        assert parameters[name].default == field.default
        assert f"{name}: {field.description}" in function.__doc__


def test_the_typed_keywords_are_the_fields() -> None:
    assert TrainKeywords.__annotations__.keys() == TrainSettings.model_fields.keys()


def test_former_names_are_accepted_with_a_warning() -> None:
    class Renamed(Settings):
        renamed = {"flip_lr": "fliplr"}  # noqa: RUF012
        fliplr: float = 0.5

    with pytest.warns(DeprecationWarning, match="flip_lr is now called fliplr"):
        assert Renamed(flip_lr=0.25).fliplr == 0.25  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="flip_lr is now called fliplr"):
        assert checked(Renamed, {"flip_lr": 0.125}).fliplr == 0.125


def test_numbers_stand_for_names_where_names_are_listed() -> None:
    settings = checked(TrainSettings, {"freeze": [10, "p3"], "device": 1, "recipe": "yolov5"})
    assert (settings.freeze, settings.device, settings.recipe.name) == (("10", "p3"), "1", "yolov5")


def test_every_setting_of_a_command_is_described() -> None:
    for kind in (TrainSettings, ValSettings):
        for name, field in kind.model_fields.items():
            assert field.description, name
            assert "\n" not in field.description + range_of(field)


def test_a_caller_may_pass_any_sequence_and_paths_as_text() -> None:
    written = {name: keyword_type(field.annotation) for name, field in fields_of(Brewing).items()}
    assert written == {
        "litres": "int", "tea": 'Literal["green", "black"]', "herbs": "Sequence[str | int]",
        "save": "str | Path | None", "conf": "float",
    }  # fmt: skip
    assert keyword_type(dict[str, Any]) == "dict[str, typing.Any]"
