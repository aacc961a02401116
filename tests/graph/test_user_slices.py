"""A class out of a fork's file whose imports need the whole fork."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from regard.errors import RegardError
from regard.graph.user_modules import import_modules, user_files
from regard.graph.user_slices import needs_slices

COMMON = '''"""Layers of a fork."""
import math
import not_installed_anywhere as nia
from pathlib import Path
import torch
import torch.nn as nn
from not_installed_either import thing
from utils.general import LOGGER, make_divisible
from .extra import *
from .attention import Inner as In, absent
from models import attention
import models.attention as whole

raise_if_run = open("/no/such/file/at/all") if False else None
print("SIDE EFFECT")

@thing.decorated
class Unused(nn.Module):
    pass

LEAST = make_divisible(7)

def pad(k: nia.Size, p: thing = None) -> nia.Pad:
    return k // 2 if p is None else p

class Wanted(nn.Module):
    def __init__(self, c1, c2, k: "nia.Kernel" = 3):
        super(Wanted, self).__init__()
        self.conv = nn.Conv2d(c1, max(c2, LEAST), k, padding=pad(k))
        self.inner = In(c2)
        self.again = attention.Inner(c2)
        self.third = whole.Inner(c2)

    def forward(self, x):
        return self.third(self.again(self.inner(self.conv(x)))) * scale(math.pi)

class Child(Wanted):
    pass

def gate(x):
    return x * torch.sigmoid(x)

class Needs(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nia.layer(c)
'''
ATTENTION = """import torch
from torch import nn
import something_else_missing

class Inner(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Conv2d(c, c, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.f(x))
"""


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    general = "import cv3\n\ndef make_divisible(x):\n    return 8\n"
    for folder, files in {
        "models": {"common.py": COMMON, "attention.py": ATTENTION, "extra.py": "def scale(x):\n    return x / x\n"},
        "utils": {"__init__.py": "import missing_too\n", "general.py": general},
    }.items():
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    return tmp_path / "models" / "common.py"


def test_a_class_with_all_that_it_needs_and_no_more(fork: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert needs_slices(fork)
    wanted = import_modules([f"{fork}:Wanted"])["Wanted"]
    layer = wanted(3, 8)
    assert layer(torch.zeros(1, 3, 5, 7)).shape == (1, 8, 5, 7)
    assert type(layer.inner) is type(layer.again) is type(layer.third)
    assert capsys.readouterr().out == ""
    gate = import_modules([f"{fork}:gate"])["gate"]
    x = torch.randn(1, 3, 5, 7)
    assert torch.equal(gate()(x), x * x.sigmoid())
    assert import_modules([f"{fork}:gate"])["gate"] is gate
    child = import_modules([f"{fork}:Child"])["Child"]
    assert issubclass(child, wanted)  # one and the same class, not a second import
    assert (fork, ("Wanted", "gate", "Child")) in user_files()


def test_what_is_missing_is_named_where_it_is_needed(fork: Path) -> None:
    with pytest.raises(RegardError, match="not_installed_anywhere") as caught:
        import_modules([f"{fork}:Needs"])
    assert caught.value.line == 3
    with pytest.raises(RegardError, match="no layer 'Nothing'"):
        import_modules([f"{fork}:Nothing"])
    with pytest.raises(RegardError, match=r"cannot be imported[\s\S]*name the class"):
        import_modules([str(fork)])


def test_a_file_that_can_be_imported_is_imported_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.py"
    file.write_text("from torch import nn\nprint('whole')\nclass Own(nn.Identity):\n    pass\n")
    assert not needs_slices(file)
    import_modules([f"{file}:Own"])
    assert "whole" in capsys.readouterr().out


def test_no_python_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("from .x import y\nclass A(:\n")
    with pytest.raises(RegardError) as caught:
        import_modules([f"{file}:A"])
    assert caught.value.line == 2
