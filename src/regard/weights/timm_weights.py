"""Weights of timm's networks, from a local file, for the stages of a graph that come from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.nn.timm_stage import TimmStage
from regard.system.files import is_file
from regard.weights.checkpoint import ROW_KEY
from regard.weights.paths import CHECKPOINTS, WEIGHTS
from regard.weights.store import METADATA_KEY
from regard.weights.transfer import TransferReport, layer_names
from regard.weights.unpickle import read_pickle

STATE_KEYS = ("state_dict", "model", "model_ema")
"""Keys under which training scripts of timm keep a state dict."""


def load_backbone(detector: Detector, path: Path) -> TransferReport | None:
    """Fill the stages of a network of timm, in place, from a state dict of that network.

    Args:
        detector: with rows of `TimmStage`.
        path: a ``.safetensors``, ``.pt`` or ``.pth`` file with tensors under timm's names, as from
            ``timm.create_model(name, pretrained=True).state_dict()``.

    Returns:
        What was filled, or None if the graph has no such rows or the file is a detector's.

    Raises:
        RegardError: the file cannot be read, or a tensor of a stage is missing or has another shape.
    """
    stages = [i for i, layer in enumerate(detector.model) if isinstance(layer, TimmStage)]
    state = _state(path) if stages and is_file(path) else None
    if state is None:
        return None
    own = detector.state_dict()
    flat = {key.replace(".", "_"): key for key in state}
    moved: dict[str, str] = {}
    for key, tensor in own.items():
        row, name = key.removeprefix("model.").split(".layers.", 1) if ".layers." in key else ("", "")
        if not (row.isdigit() and int(row) in stages):
            continue
        source = flat.get(name.replace(".", "_"))
        if source is None or state[source].shape != tensor.shape:
            shapes = "is missing" if source is None else f"is {tuple(state[source].shape)}, not {tuple(tensor.shape)}"
            network = detector.spec.layers[int(row)].options.get("name")
            what = f"{source or _in_file(name)} {shapes}"
            raise RegardError(what, file=path, expected=f"the tensors of timm's {network}")
        tensor.copy_(state[source])
        moved[key] = source
    used = set(moved.values())
    return TransferReport(
        kept=(),
        moved=moved,
        partly={},
        initialised=tuple(key for key in own if key not in moved),
        unused=tuple(key for key in state if key not in used),
        layer_of=layer_names(own, detector.spec),
        source_layer_of={key: key.split(".")[0] for key in state},
    )


def _in_file(name: str) -> str:
    """Name in timm's network of a tensor of its features, which join "blocks" and "3" by an underscore."""
    return re.sub(r"^(\w+)_(\d+)\.", r"\1.\2.", name)


def _state(path: Path) -> Mapping[str, Tensor] | None:
    """Tensors of a file that is no detector's."""
    if path.suffix.lower() == WEIGHTS:
        try:
            with safe_open(path, framework="pt") as file:
                if METADATA_KEY in (file.metadata() or {}):
                    return None
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the file is not a mapping
        except (SafetensorError, OSError, ValueError):
            return None  # the reader of detectors says what is wrong
    content = read_pickle(path) if path.suffix.lower() in CHECKPOINTS else None
    for key in STATE_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        return None
    state = {str(key).removeprefix("module."): value for key, value in content.items()}
    plain = all(isinstance(value, Tensor) and not ROW_KEY.match(key) for key, value in state.items())
    return state if plain else None
