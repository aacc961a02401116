"""docs/settings.md and the typed keyword arguments are what docs/make_settings.py writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import Field

from regard.config import Settings, TrainSettings

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(make: ModuleType) -> None:
    assert make.PAGE.read_text(encoding="utf-8") == make.page(), "run: python docs/make_settings.py"


def test_the_typed_keywords_are_current(make: ModuleType) -> None:
    assert make.KEYWORDS.read_text(encoding="utf-8") == make.keywords(), "run: python docs/make_settings.py"


def test_a_new_setting_is_one_line(make: ModuleType) -> None:
    class More(TrainSettings):
        patches: int = Field(3, ge=1, description="Number of patches")

    kind: type[Settings] = More
    assert "| `patches` | `--patches` | `3` | at least 1 | Number of patches |" in make.command_table(kind)
