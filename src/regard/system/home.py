"""The user's cache folder, and what keeps the packages below from writing or reaching anywhere else."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import platformdirs

FOLDER_VARIABLE = "REGARD_CACHE"

Execute: TypeAlias = "Callable[[Callable[[ModuleType], None], ModuleType], None]"
"""Executes a module by the function that its loader has for that."""


def cache_folder() -> Path:
    """Where files are kept that can be made again: ``$REGARD_CACHE``, else ``regard`` in the user's cache folder.

    Raises:
        OSError: the user has no home folder.
    """
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(os.path.expanduser(own))
    try:
        folder = platformdirs.user_cache_path("regard", appauthor=False)
    except RuntimeError:  # no HOME, and no entry for the user's number; older versions give a path with "~"
        folder = Path("~")
    if not folder.is_absolute():
        raise OSError(errno.ENOENT, f"there is no home folder for a cache; set {FOLDER_VARIABLE}")
    return folder


def keep_matplotlib_in_cache() -> None:
    """Let matplotlib, when it is imported later, keep its list of fonts in our cache and write nothing elsewhere.

    It then also reads no settings in the working folder, which may be anybody's: by one of them it runs LaTeX.
    """
    if "matplotlib" in sys.modules:
        return
    _import_by("matplotlib", _without_settings)
    if "MPLCONFIGDIR" not in os.environ:
        with suppress(OSError):  # it then finds a temporary folder by itself
            os.environ["MPLCONFIGDIR"] = str(cache_folder() / "matplotlib")


def import_torch_elsewhere() -> None:
    """Let PyTorch, when it is imported later, be imported while the working folder is another one, of the system.

    A library of NVIDIA's that comes with it searches the working folder for ``libcuda.so.1``, and would run anybody's.
    This is for a program of its own, without threads that use relative paths.
    """
    if sys.platform == "linux":
        _import_by("torch", _in_root)


def _import_by(name: str, execute: Execute) -> None:
    is_known = any(isinstance(hook, _Import) and hook.name == name for hook in sys.meta_path)
    if name not in sys.modules and not is_known:
        sys.meta_path.insert(0, _Import(name, execute))


class _Import:
    """Imports a package once by a function that is given how to execute it, and what."""

    def __init__(self, name: str, execute: Execute) -> None:
        self.name, self.execute = name, execute

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname != self.name:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(self.execute, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec


def _in_root(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    try:
        here = os.open(".", os.O_RDONLY)
    except OSError:  # it is gone, or may not be read: nobody can have put a library there for us to find
        execute(module)
        return
    os.chdir("/")
    try:
        execute(module)
    finally:
        os.fchdir(here)
        os.close(here)


def _without_settings(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    exists = os.path.exists
    os.path.exists = lambda path: path != "matplotlibrc" and exists(path)
    try:
        execute(module)
    finally:
        os.path.exists = exists


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without the telemetry that some of its builds have, which keeps a number for this machine.

    The variable is read when its library is loaded; the call is for a program that has loaded it already.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which sends an event to an analytics host on each import.

    The import of the package that sends fails, and OpenVINO uses the stub that it has for that case.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
