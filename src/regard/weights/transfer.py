"""Moving weights from one graph to another by structure and name, so that an edit keeps every tensor that has a place.

Rows are matched first (by name, else by an alignment of the two lists that keeps their order), then the tensors of
matched rows by the rest of their path and their shape. Two cases need more than that: a layer that is behind a gate
in one of the graphs, and a detection head for another number of classes, whose boxes, objectness and classes of the
same name are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from torch import Tensor

from regard.graph.align import align, row_similarity
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec, Row

BOX_AND_OBJECTNESS = 5
"""Outputs of the head for each anchor before the classes."""


@dataclass(frozen=True)
class TransferReport:
    """What became of every tensor.

    Attributes:
        kept: target keys filled from the same key of the source.
        moved: target key to the source key that filled it, where they differ.
        partly: target keys of which some part was kept, with what was.
        initialised: target keys that keep their fresh values.
        unused: source keys without a place.
        layer_of: target key to the name of its layer, for the table.
    """

    kept: tuple[str, ...]
    moved: Mapping[str, str]
    partly: Mapping[str, str]
    initialised: tuple[str, ...]
    unused: tuple[str, ...]
    layer_of: Mapping[str, str]

    @property
    def found(self) -> int:
        """Number of source tensors that have a place, whole or in part."""
        return len(self.kept) + len(self.moved) + len(self.partly)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the totals, and a row for each layer that is not simply kept."""
        yield (
            f"weights: {len(self.kept)} tensors kept, {len(self.moved)} moved with their layer, "
            f"{len(self.partly)} kept in part, {len(self.initialised)} new, {len(self.unused)} unused"
        )
        counts: dict[str, list[int]] = {}
        for column, keys in enumerate((self.partly, self.initialised)):
            for key in keys:
                counts.setdefault(self.layer_of[key], [0, 0])[column] += 1
        if counts:
            table = Table("layer", "kept in part", "new", box=None, pad_edge=False)
            for layer, numbers in counts.items():
                table.add_row(layer, *(str(n) if n else "" for n in numbers))
            yield table
        for what in sorted(set(self.partly.values())):
            yield f"kept in part: {what}"


def transfer(
    state: Mapping[str, Tensor], spec: ModelSpec, names: Mapping[int, str], target: Detector
) -> TransferReport:
    """Copy into ``target`` every tensor of ``state`` that has a place there.

    Anchors that the target's graph states otherwise than the source's stay as stated.

    Args:
        state: tensors of the source, called ``model.<row>....``.
        spec: the graph of the source.
        names: class names of the source.
        target: changed in place.
    """
    rows = match_rows(spec, target.spec)
    wanted = target.state_dict()
    layer_of = {key: target.spec.rows[int(key.split(".")[1])].name for key in wanted}
    kept: list[str] = []
    moved: dict[str, str] = {}
    partly: dict[str, str] = {}
    used: set[str] = set()
    for key, tensor in wanted.items():
        _, row, path = key.split(".", 2)
        if int(row) not in rows:
            continue
        source_key = _source_key(state, rows[int(row)], path)
        if source_key is None:
            continue
        source = state[source_key]
        if path == "anchors" and int(row) == len(target.model) - 1 and _states_other_anchors(spec, target.spec):
            continue
        if source.shape == tensor.shape:
            tensor.copy_(source)
            if source_key == key:
                kept.append(key)
            else:
                moved[key] = source_key
        elif int(row) == len(target.model) - 1 and _copy_head(source, spec, names, tensor, target):
            partly[key] = "boxes, objectness, and classes of the same name; other classes start anew"
        else:
            continue
        used.add(source_key)
    filled = {*kept, *moved, *partly}
    return TransferReport(
        tuple(kept),
        moved,
        partly,
        tuple(key for key in wanted if key not in filled),
        tuple(key for key in state if key not in used),
        layer_of,
    )


def match_rows(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """Return target row -> source row, by name where both graphs have it and by order and likeness elsewhere."""

    def similarity(a: Row, b: Row) -> float:
        # A shared name outweighs any likeness; rows of different kinds hold no tensors in common.
        return (100.0 if a.name == b.name else 0.0) + (row_similarity(a, b) if a.module == b.module else 0.0)

    return {j: i for i, j in align(source.rows, target.rows, similarity).items()}


def _source_key(state: Mapping[str, Tensor], row: int, path: str) -> str | None:
    """Return the key in ``state`` for a tensor of a matched row, whether either side is gated or not."""
    for candidate in (path, f"module.{path}", path.removeprefix("module.")):
        key = f"model.{row}.{candidate}"
        if key in state:
            return key
    return None


def _states_other_anchors(source: ModelSpec, target: ModelSpec) -> bool:
    """Whether the target's graph states anchors of its own, which then go before those that come with the weights."""
    return not isinstance(target.anchors, int) and target.anchors != source.anchors


def _copy_head(source: Tensor, spec: ModelSpec, names: Mapping[int, str], tensor: Tensor, target: Detector) -> bool:
    """Copy boxes, objectness and classes of equal name between two heads; False if they differ in more than classes."""
    per_cell = target.head.anchors_per_cell
    if source.shape[1:] != tensor.shape[1:] or source.shape[0] != per_cell * (BOX_AND_OBJECTNESS + spec.nc):
        return False
    from_ = source.view(per_cell, -1, *source.shape[1:])
    to = tensor.view(per_cell, -1, *tensor.shape[1:])
    to[:, :BOX_AND_OBJECTNESS] = from_[:, :BOX_AND_OBJECTNESS]
    by_name = {name: i for i, name in names.items()}
    pairs = [(by_name[name], i) for i, name in target.names.items() if name in by_name]
    if pairs:
        old, new = (torch.tensor(ids) + BOX_AND_OBJECTNESS for ids in zip(*pairs, strict=True))
        to[:, new] = from_[:, old]
    return True
