"""YOLOv9's weights under the names of its authors' MIT-licensed package (MultimediaTechLab/YOLO), renamed to ours.

Their state dicts number the rows as the paper's graphs do. The box branch of their head has convolutions in four
groups; here they become whole convolutions whose other weights are 0, which predict the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from regard.errors import RegardError, warn

ROW = re.compile(r"(?:model\.)*(\d{1,6})\.(.+)")
HEAD = re.compile(r"heads\.(\d{1,2})\.(anchor_conv|class_conv|anc2vec)\.(.+)")
LAST_ROW = 22
"""The head's row in a graph of YOLOv9; what follows it trains and predicts nothing."""
BOX_BRANCH = re.compile(r"(model\.\d+\.cv2\.\d+\.)(1\.conv|2)\.weight")
BRANCHES = {"anchor_conv": "cv2", "class_conv": "cv3"}


def is_mit_layout(keys: Iterable[str]) -> bool:
    """Whether the keys are those of a detector of that package, with or without prefixes."""
    rows = [found for key in keys if (found := ROW.fullmatch(key))]
    return any(HEAD.match(found[2]) for found in rows)


def from_mit_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a detector to ``model.<row>....``, without the auxiliary branch.

    Args:
        state: tensors for which `is_mit_layout` holds.

    Raises:
        RegardError: a group of convolutions cannot be unfolded, or the bins of the head are not 0, 1, 2...
    """
    rows = [(int(found[1]), found[2], state[key]) for key in state if (found := ROW.fullmatch(key))]
    heads = {row for row, name, _ in rows if HEAD.match(name)}
    head = LAST_ROW if LAST_ROW in heads else max(heads)  # in early files the auxiliary branch came first
    result: dict[str, Tensor] = {}
    for row, name, tensor in rows:
        if row < LAST_ROW:
            result[f"model.{row}.{_renamed(name)}"] = tensor
        elif row == head and (found := HEAD.fullmatch(name)):
            result |= _of_head(found[1], found[2], found[3], tensor)
    dropped = sum(row >= LAST_ROW and row != head for row, _, _ in rows)
    if dropped:
        what = f"{dropped} tensors of the auxiliary branch, which is used only in training, are not read"
        warn(what)
    return _without_groups(result)


def _renamed(name: str) -> str:
    """The name inside a row; a re-parameterised convolution keeps its ``conv1`` and ``conv2``."""
    outer, *inner = name.split("bottleneck.")
    if re.match(r"conv\.(conv|bn)\.", outer):  # AConv
        return f"cv1.{outer.removeprefix('conv.')}"
    outer = re.sub(r"\bconv(\d)\.", r"cv\1.", outer)
    return outer + "".join("m." + re.sub(r"^(\d+)\.conv(\d)\.", r"\1.cv\2.", part) for part in inner)


def _of_head(level: str, branch: str, rest: str, tensor: Tensor) -> dict[str, Tensor]:
    if branch == "anc2vec":
        bins = tensor.flatten()
        if not torch.equal(bins.float(), torch.arange(len(bins)).float()):
            raise RegardError("the bins of the head have other distances than 0, 1, 2...")
        return {f"model.{LAST_ROW}.dfl.conv.weight": bins.view(1, -1, 1, 1)} if level == "0" else {}
    return {f"model.{LAST_ROW}.{BRANCHES[branch]}.{level}.{rest}": tensor}


def _without_groups(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy with whole convolutions in the box branch; their inputs are the outputs of its first one."""
    result = dict(state)
    for key in state:
        found = BOX_BRANCH.fullmatch(key)
        first = state.get(f"{found[1]}0.conv.weight") if found else None
        if first is not None:
            result[key] = _whole(state[key], len(first))
    return result


def _whole(weight: Tensor, channels: int) -> Tensor:
    """(O, channels / groups, k, k) -> (O, channels, k, k): one convolution that equals those of all groups."""
    outputs, inputs = weight.shape[:2] if weight.ndim == 4 else (0, 0)
    groups = channels // inputs if inputs else 0
    if not groups or channels % inputs or outputs % groups:
        raise RegardError(f"a convolution of the box branch has weights {tuple(weight.shape)} for {channels} channels")
    whole = weight.new_zeros(outputs, channels, *weight.shape[2:])
    for out, own, part in zip(whole.chunk(groups), weight.chunk(groups), range(groups), strict=True):
        out[:, part * inputs : (part + 1) * inputs] = own
    return whole
