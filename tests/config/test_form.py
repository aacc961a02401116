"""Settings as a form: what it accepts becomes the options of the command line, and those the same settings again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from regard.ablate.plan import Plan
from regard.cli.from_settings import Given, with_settings
from regard.config import Option, Settings, TrainSettings, checked
from regard.config.form import form_of, values_of, words_of
from regard.errors import RegardError


class Some(Settings):
    count: int = Field(3, ge=2, le=7, description="A number")
    share: float = Field(0.5, gt=0, lt=1, description="A part")
    on: bool = Field(True, description="A switch")
    off: bool = Field(False, description="A switch")
    way: Literal["left", "right"] = Field("left", description="A way")
    sizes: tuple[int, ...] = Field((), description="Sizes")
    edits: Annotated[tuple[str, ...], Option(repeat=True)] = Field((), description="Edits")
    name: Annotated[str | None, Option(flags=("--called", "-c"))] = Field(None, description="A name")


def test_fields_have_bounds_choices_and_defaults() -> None:
    fields = {field.name: field for field in form_of(Some, without=("off",))}
    assert list(fields) == ["count", "share", "on", "way", "sizes", "edits", "name"]
    assert [field.kind for field in fields.values()] == ["integer", "number", "flag", "choice", "list", "lines", "text"]
    assert (fields["count"].low, fields["count"].high, fields["count"].default) == (2, 7, "3")
    assert (fields["share"].low, fields["share"].help) == (None, "A part (above 0, below 1).")
    assert fields["way"].choices == ("left", "right")
    assert fields["name"].flag == "--called"
    assert [field.name for field in form_of(Plan) if field.required] == ["base", "data"]


def test_what_is_typed_becomes_options_and_the_same_settings() -> None:
    typed: dict[str, Any] = {"count": 5, "on": False, "off": False, "way": "right", "sizes": "3, 5 7", "name": "-x"}
    values = values_of(Some, {**typed, "edits": "SE@a, b\n\n ECA@c ", "share": ""})
    assert values["edits"] == ["SE@a, b", "ECA@c"]
    found: list[Given] = []
    app = typer.Typer()

    @app.command()
    @with_settings(settings=Some)
    def command(*, settings: Given) -> None:
        found.append(settings)

    done = CliRunner().invoke(app, words_of(Some, values))
    assert done.exit_code == 0, done.output
    assert checked(Some, found[0]) == checked(Some, values)
    assert checked(Some, values).sizes == (3, 5, 7)


def test_a_mapping_is_typed_in_lines() -> None:
    assert values_of(Plan, {"train": "precision=bf16\n cache = ram"}) == {
        "train": {"precision": "bf16", "cache": "ram"}
    }
    with pytest.raises(RegardError, match="no setting"):
        values_of(Plan, {"train": "precision"})
    with pytest.raises(RegardError, match="unknown setting 'epoch'"):
        checked(TrainSettings, values_of(TrainSettings, {"epoch": 3}))
