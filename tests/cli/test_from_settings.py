"""One field is one option: its name, type, help text and default; former names work, hidden, with a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from regard.cli.commands import Command
from regard.cli.from_settings import Given, with_settings
from regard.config import Option, Settings, checked


class Brewing(Settings):
    litres: Annotated[int, Option(flags=("--litres", "-l"), old=("--water",))] = Field(7, ge=1, description="Water")
    tea: Literal["green", "black"] = Field("green", description="Kind of tea, see brew[tea]")
    sweet: bool = Field(False, description="Add sugar")
    warm: Annotated[bool, Option(old=("--heating",))] = Field(True, description="Keep it warm")
    lit: Annotated[bool, Option(old=("--heating",))] = Field(True, description="Light a candle")
    herbs: tuple[str, ...] = Field((), description="Herbs to add")
    cups: Annotated[tuple[str, ...], Option(repeat=True)] = Field((), description="A cup")
    sizes: tuple[int, ...] = Field((), description="Sizes")
    path: Path | None = Field(None, description="Where to write")
    name: str = Field(description="Name of the brew")


def run(*arguments: str, **options: Any) -> tuple[dict[str, Any] | None, str]:
    """Return what a command receives, and what it prints."""
    received: list[dict[str, Any]] = []
    app = typer.Typer()

    @app.command(cls=Command)
    @with_settings(settings=Brewing, **options)
    def brew(*, pot: Annotated[str, typer.Argument()], settings: Given, twice: bool = False) -> None:
        received.append({"pot": pot, "twice": twice, **settings})

    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    return (received[0] if received else None), result.output


def test_only_what_is_given_arrives_with_its_type() -> None:
    assert run("a")[0] == {"pot": "a", "twice": False}
    given = "a -l 3 --tea black --sweet --no-warm --herbs mint,sage --cups x --cups y --sizes 3,5 --path p --name 0"
    assert run(*given.split())[0] == {
        "pot": "a", "twice": False, "litres": 3, "tea": "black", "sweet": True, "warm": False,
        "herbs": ("mint", "sage"), "cups": ["x", "y"], "sizes": (3, 5), "path": Path("p"), "name": "0",
    }  # fmt: skip


def test_help_shows_descriptions_ranges_and_defaults() -> None:
    text = " ".join(run("--help")[1].split())
    for part in (
        "Water (at least 1; default: 7).", "Kind of tea, see brew[tea] (default: green).", "Add sugar.",
        "Keep it warm (default: on).", "A cup. May be given several times.", "--no-warm", "green|black",
    ):  # fmt: skip
        assert part in text
    for part in ("--no-sweet", "--water", "--heating"):
        assert part not in text


def test_former_options_work_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="--water is now called --litres"):
        assert run("a", "--water", "3")[0] == {"pot": "a", "twice": False, "litres": 3}
    with pytest.warns(DeprecationWarning, match="--heating is now called --warm, --lit"):
        assert run("a", "--no-heating", "--lit")[0] == {"pot": "a", "twice": False, "warm": False, "lit": True}


def test_a_wrong_type_or_an_unknown_option_stops_before_the_command() -> None:
    assert run("a", "--litres", "many")[0] is None
    assert run("a", "--tea", "white")[0] is None
    assert run("a", "--coffee")[0] is None


def test_fields_may_be_left_out_or_parsed_otherwise() -> None:
    received, _ = run("a", "--sizes", "5", parsers={"sizes": lambda text: tuple(range(int(text)))}, without=("tea",))
    assert received == {"pot": "a", "twice": False, "sizes": (0, 1, 2, 3, 4)}
    assert run("a", "--tea", "green", without=("tea",))[0] is None


def test_what_is_given_makes_settings() -> None:
    received, _ = run("a", "--litres", "3", "--name", "x")
    assert received is not None
    settings = checked(Brewing, {name: value for name, value in received.items() if name not in ("pot", "twice")})
    assert (settings.litres, settings.tea) == (3, "green")
