"""Forged checkpoints, and classes that a pickle can refer to."""

from __future__ import annotations

import functools
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

Forge = Callable[..., Path]
Define = Callable[[str], type[nn.Module]]


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Write a torch zip whose pickle and other members are the bytes given."""

    def write(pickle: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
        path = tmp_path / "forged.pt"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", pickle)
            for name, data in members.items():
                archive.writestr(f"archive/{name.replace('__', '/')}", data)
            archive.writestr("archive/version", b"3\n")
        return path

    return write


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    """Make a module class of a full name such as ``models.common.SE``, which a pickle can refer to."""

    @functools.cache
    def make(dotted: str) -> type[nn.Module]:
        module, _, name = dotted.rpartition(".")
        parts = module.split(".")
        for parent in (".".join(parts[:count]) for count in range(1, len(parts) + 1)):
            monkeypatch.setitem(sys.modules, parent, sys.modules.get(parent, types.ModuleType(parent)))
        made: type[nn.Module] = type(name, (nn.Module,), {"__module__": module, "__qualname__": name})
        monkeypatch.setattr(sys.modules[module], name, made, raising=False)
        return made

    return make
