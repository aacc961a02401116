"""The package's own files: weights with their graph and settings (``.safetensors``), and resumable training state."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from regard.config import Settings
from regard.config.faults import first_fault
from regard.errors import RegardError
from regard.system.files import check_readable, is_file, write_file
from regard.system.loaders import parse_json
from regard.weights.archive import foreign_content
from regard.weights.paths import missing_file
from regard.weights.unpickle import read_pickle

FORMAT_VERSION = 1
METADATA_KEY = "regard"


class WeightsHeader(Settings):
    """Metadata of a weights file; ``training`` and ``extra`` contain any values that JSON can represent."""

    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    graph: str = Field(description="the model graph as YAML, anchors included")
    names: dict[int, str] = Field(default={}, description="class id to name")
    modules: dict[str, str] = Field(
        default={}, description="user modules that the graph needs: name in the graph to file.py:Class or dotted name"
    )
    training: dict[str, Any] = Field(default={}, description="the settings of the training")
    extra: dict[str, Any] = Field(default={}, description="any other information")


def save_weights(path: Path, state: Mapping[str, Tensor], header: WeightsHeader) -> None:
    """Write tensors and header as one ``.safetensors`` file, which replaces ``path`` only when it is complete.

    Tensors may be on any device, non-contiguous, or share memory; each is written in full.

    Raises:
        RegardError: the file cannot be written.
        TypeError: the header contains a value that is not JSON.
    """
    document = json.dumps(header.model_dump(), ensure_ascii=False)
    # Each is copied, as the format rejects tensors that share memory.
    tensors = {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in state.items()}
    write_file(path, to_safetensors(tensors, metadata={METADATA_KEY: document}))


def load_weights(path: Path) -> tuple[dict[str, Tensor], WeightsHeader]:
    """Read a file of ``save_weights``: its tensors, on the CPU, and its header.

    Raises:
        RegardError: the file is missing, damaged, of another program, or of a newer format.
    """
    if not is_file(path):
        raise missing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            document = (file.metadata() or {}).get(METADATA_KEY)
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the file is not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        check_readable(path)
        if what := foreign_content(path):
            raise RegardError(f"this is {what}", file=path, expected="weights saved by regard") from error
        raise RegardError(
            f"the file is truncated, damaged, or not a safetensors file ({error})",
            file=path,
            expected="weights saved by regard",
        ) from error
    return state, _parse_header(path, document)


def _parse_header(path: Path, document: str | None) -> WeightsHeader:
    if document is None:
        raise RegardError("a safetensors file from another program", file=path, expected="weights saved by regard")
    try:
        values = parse_json(document, None)
        version = values.get("format_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise RegardError(
                f"the file has format version {version}",
                file=path,
                expected=f"a version up to {FORMAT_VERSION}",
                hint="it was written by a newer version: upgrade regard",
            )
        return WeightsHeader.model_validate(values)
    except ValidationError as error:
        fault = first_fault(error)
        what = f"the header in the file is damaged: {fault.what}"
        raise RegardError(what, file=path, expected=fault.expected) from error
    except RegardError as error:
        if error.file:
            raise
        raise RegardError(f"the header in the file is damaged ({error.what})", file=path) from error


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write resumable training state, which replaces ``path`` only when it is complete.

    Args:
        path: the file.
        state: plain containers, numbers, text and tensors.

    Raises:
        RegardError: the file cannot be written.
        TypeError: ``state`` contains a value that ``load_state`` could not read.
    """
    _require_plain(state, "state")
    content = io.BytesIO()  # torch may end the process where it writes to a full disk itself
    torch.save(state, content)
    write_file(path, content.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read a file of ``save_state``, with all tensors on the CPU.

    Raises:
        RegardError: the file is missing or damaged, or contains anything but plain values and tensors.
    """
    if not is_file(path):
        raise missing_file(path)
    try:
        state = read_pickle(path)
        _require_plain(state, "it")
    except (RegardError, TypeError) as error:
        raise _bad_state(path, getattr(error, "what", error)) from error
    if not isinstance(state, dict):
        raise _bad_state(path, "it does not contain a dictionary")
    return state


def _bad_state(path: Path, why: object) -> RegardError:
    return RegardError(
        f"the training state is damaged or from another program ({why})", file=path, hint="start a new run"
    )


def _require_plain(value: Any, place: str) -> None:
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _require_plain(key, f"a key of {place}")
            _require_plain(item, f"{place}[{key!r}]")
    elif type(value) in (list, tuple, set, torch.Size):
        for index, item in enumerate(value):
            _require_plain(item, f"{place}[{index}]")
    elif type(value) not in (str, bytes, int, float, bool, type(None), Tensor, torch.nn.Parameter):
        raise TypeError(f"{place} is a {type(value).__name__}, not a plain value or tensor")
