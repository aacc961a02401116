"""The project's own files: weights with all that explains them (``.safetensors``), and resumable training state."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from regard.config import Settings
from regard.errors import RegardError
from regard.replacing import replacing
from regard.weights.missing import missing_file

FORMAT_VERSION = 1
METADATA_KEY = "regard"


class WeightsHeader(Settings):
    """What a weights file says beside its tensors; any JSON-ready values in ``training`` and ``extra``."""

    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    graph: str = Field(description="the model graph as YAML, anchors included")
    names: dict[int, str] = Field(default={}, description="class id to name")
    modules: dict[str, str] = Field(
        default={}, description="user modules it needs: YAML name to file.py:Class or dotted name"
    )
    training: dict[str, Any] = Field(default={}, description="the settings that it was trained with")
    extra: dict[str, Any] = Field(default={}, description="anything else worth keeping")


def save_weights(path: Path, state: Mapping[str, Tensor], header: WeightsHeader) -> None:
    """Write tensors and header as one ``.safetensors``; ``path`` never holds half a file.

    Tensors may be on any device, non-contiguous, or share memory; each is written whole.

    Raises:
        RegardError: the file cannot be written.
        TypeError: the header holds a value that is not JSON.
    """
    document = json.dumps(header.model_dump(), ensure_ascii=False)
    # A copy of its own for each, as the format refuses tensors that share memory.
    tensors = {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in state.items()}
    with replacing(path) as file:
        file.write(to_safetensors(tensors, metadata={METADATA_KEY: document}))


def load_weights(path: Path) -> tuple[dict[str, Tensor], WeightsHeader]:
    """Return the tensors, on the CPU, and the header of a file that ``save_weights`` wrote.

    Raises:
        RegardError: the file is missing, damaged, not ours, or of a newer format.
    """
    if not path.is_file():
        raise missing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            document = (file.metadata() or {}).get(METADATA_KEY)
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the file is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise RegardError(
            f"the file is cut short, damaged, or no safetensors file ({error})",
            file=path,
            expected="weights saved by regard",
        ) from error
    return state, _parse_header(path, document)


def _parse_header(path: Path, document: str | None) -> WeightsHeader:
    if document is None:
        raise RegardError("a safetensors file of another program", file=path, expected="weights saved by regard")
    try:
        values = json.loads(document)
        version = values.get("format_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise RegardError(
                f"the file has format version {version}",
                file=path,
                expected=f"a version up to {FORMAT_VERSION}",
                hint="a newer regard wrote it: upgrade regard",
            )
        return WeightsHeader.model_validate(values)
    except (ValueError, RecursionError) as error:  # pydantic's ValidationError is a ValueError
        raise RegardError(f"the header in the file is damaged ({error})", file=path) from error


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write resumable training state: plain containers, numbers, text and tensors; ``path`` never holds half a file.

    Raises:
        RegardError: the file cannot be written.
        TypeError: ``state`` holds what ``load_state`` could not read again.
    """
    _require_plain(state, "state")
    with replacing(path) as file:
        torch.save(state, file)


def load_state(path: Path) -> dict[str, Any]:
    """Return what ``save_state`` wrote, on the CPU.

    Raises:
        RegardError: the file is missing or damaged, or holds anything but plain values and tensors.
    """
    if not path.is_file():
        raise missing_file(path)
    try:
        # Not a zip archive means torch's older format, which it would read with warnings.
        state = torch.load(path, map_location="cpu", weights_only=True) if zipfile.is_zipfile(path) else None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        raise _bad_state(path, error) from error
    if not isinstance(state, dict):
        raise _bad_state(path, "it holds no dictionary")
    return state


def _bad_state(path: Path, why: object) -> RegardError:
    return RegardError(f"the training state is damaged or not ours ({why})", file=path, hint="start the run anew")


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
