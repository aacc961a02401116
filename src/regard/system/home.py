"""The user's cache folder, and what keeps the packages below from writing or reaching anywhere else."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import platformdirs

from regard.errors import RegardError

FOLDER_VARIABLE = "REGARD_CACHE"
SEARCHED = ("glibc-hwcaps", "x86-64-v2", "x86-64-v3", "x86-64-v4", "tls", "x86_64", "aarch64", "haswell", "avx512_1")
"""Folders in a folder that the system searches with it for libraries."""
_OF_CUDA = re.compile(r"lib(cuda|cudnn|cublas|cufft|cupti|curand|cusolver|cusparse|cufile|nv|nccl).*\.so")


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
    if not any(isinstance(finder, _MatplotlibImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MatplotlibImport())
    if "MPLCONFIGDIR" not in os.environ:
        with suppress(OSError):  # it then finds a temporary folder by itself
            os.environ["MPLCONFIGDIR"] = str(cache_folder() / "matplotlib")


def reject_planted_libraries(folder: Path, levels: int = 4) -> None:
    """Reject a working folder with a library that PyTorch would load from there: it may be anybody's.

    The packages of CUDA that come with PyTorch search the working folder for ``libcuda.so.1``, with and without a GPU.

    Args:
        folder: the working folder.
        levels: how deep the folders of ``SEARCHED`` are followed.

    Raises:
        RegardError: there is one.
    """
    try:
        names = os.listdir(folder)
    except OSError:  # what may not be listed can be searched
        names = [name for name in ("libcuda.so.1", *SEARCHED) if os.path.lexists(folder / name)]
    for name in names:
        if _OF_CUDA.match(name):
            what = "PyTorch would load and run this library in the working folder"
            raise RegardError(what, file=folder / name, hint="work in another folder, or remove the file")
        if name in SEARCHED and levels and os.path.isdir(folder / name):
            reject_planted_libraries(folder / name, levels - 1)


class _MatplotlibImport:
    """Imports matplotlib once as if there were no file of its settings in the working folder."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname != "matplotlib":
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(_without_settings, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec


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
