"""Transfer of weights between graphs by structure and name, so that an edit keeps all matching tensors.

First layers are matched (by name, otherwise by an alignment of the two lists that keeps their order), then the tensors
of matched layers by the rest of their path and their shape. Two cases need more: a layer that is behind a gate in only
one of the graphs, and a detection head for other classes, of which boxes, objectness and classes of the same name are
kept. A head for the same number of classes without a common name is kept completely: the classes may have been renamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from torch import Tensor

from regard.graph.align import align, layer_similarity
from regard.graph.detector import Detector
from regard.graph.spec import LayerSpec, ModelSpec
from regard.nn.heads import ClassChannels
from regard.system.notebook import ShownInNotebooks

MOST_LISTED = 8
"""Most layers, or class names, that the report lists; the others are only counted."""

SAME_NAME, SAME_SHAPE = 100.0, 120.0
"""Similarity of layers with a common name, or with the same channels."""

WITHOUT_TENSORS = ("Concat", "nn.Upsample")


@dataclass(frozen=True)
class TransferReport(ShownInNotebooks):
    """Origin of every tensor of the target.

    Attributes:
        kept: target keys that were filled from the same key of the source.
        moved: source key by target key, for tensors that were filled from a different key.
        partly: description of the kept part by target key, for tensors that were filled in part.
        initialised: target keys with newly initialised values.
        unused: source keys that match nothing.
        layer_of: name of the layer by target key.
        source_layer_of: name of the layer by source key.
        reasons: why nothing was copied, by target key.
    """

    kept: tuple[str, ...]
    moved: Mapping[str, str]
    partly: Mapping[str, str]
    initialised: tuple[str, ...]
    unused: tuple[str, ...]
    layer_of: Mapping[str, str]
    source_layer_of: Mapping[str, str]
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """Number of target tensors that were filled, completely or in part."""
        return len(self.kept) + len(self.moved) + len(self.partly)

    def to_text(self) -> str:
        """Write what is printed as plain text."""
        return "\n".join([f"weights: {self._totals()}", *self._layer_lines()])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the totals, and a line for each layer that was not kept completely."""
        yield Text(f"weights: {self._totals()}")
        yield from map(Text, self._layer_lines())

    def _layer_lines(self) -> list[str]:
        return [f"  {line}" for line in _some([f"{layer}: {what}" for layer, what in self._layers()])]

    def _totals(self) -> str:
        whole = len(self.kept) + len(self.moved)
        if not self.found:
            return f"no tensor matches, all {len(self.layer_of)} are newly initialised"
        parts = [f"all {whole} tensors kept" if whole == len(self.layer_of) else f"{whole} tensors kept"]
        if self.partly:
            parts.append(f"{len(self.partly)} kept in part")
        if self.initialised:
            parts.append(f"{len(self.initialised)} new")
        if self.unused:
            parts.append(f"{len(self.unused)} of the source unused")
        return ", ".join(parts) + (" (some under another index)" if self.moved else "")

    def _layers(self) -> Iterator[tuple[str, str]]:
        """List each layer that was not kept completely, and what happened to it."""
        sizes = Counter(self.layer_of.values())
        for layer, what in {self.layer_of[key]: what for key, what in self.partly.items()}.items():
            yield layer, what
        for layer, count in Counter(self.layer_of[key] for key in self.initialised).items():
            yield layer, f"{count} new tensors" if count == sizes[layer] else f"{count} of {sizes[layer]} tensors new"
        source_sizes = Counter(self.source_layer_of.values())
        for layer, count in Counter(self.source_layer_of[key] for key in self.unused).items():
            yield layer, f"{count} of {source_sizes[layer]} tensors of the source are not used"


def transfer(
    state: Mapping[str, Tensor], spec: ModelSpec, names: Mapping[int, str], target: Detector
) -> TransferReport:
    """Copy all matching tensors of ``state`` into ``target``.

    Args:
        state, spec, names: the source's tensors, by ``model.<row>....``, its graph and its class names.
        target: the detector to fill, in place. Tensors that it shares with the source, and values that its graph
            states for its head, such as other anchors than the source has, remain as they are.
    """
    rows, levels = match_layers(spec, target.spec), _match_levels(spec, target.spec)
    wanted, channels, reorders = target.state_dict(), target.head.class_channels(), _reorders(names, target.names)
    shared = {tensor.data_ptr(): key for key, tensor in state.items() if tensor.numel()}
    copied: dict[str, str] = {}
    partly: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for key, tensor in wanted.items():
        _, row, path = key.split(".", 2)
        if tensor.data_ptr() in shared:
            copied[key] = shared[tensor.data_ptr()]
            continue
        is_head = int(row) == len(target.model) - 1
        source_path = _at_level(path, target.head.per_level, levels) if is_head else path
        source_key = _source_key(state, rows.get(int(row)), source_path)
        if source_key is None:
            reasons[key] = "no such tensor in the source's layer" if int(row) in rows else "no such layer in the source"
            continue
        source = state[source_key]
        classes = channels.get(path) if is_head else None
        if is_head and target.head.prefers_own(path, source):
            reasons[key] = "the graph states its values"
            continue
        if source.shape == tensor.shape and not (classes and reorders):
            tensor.copy_(source)
            copied[key] = source_key
        elif classes and _copy_classes(source, names, tensor, target.names, classes):
            partly[key] = source_key
        else:
            reasons[key] = f"{_size(source)} in the source, {_size(tensor)} here"
    used = {*copied.values(), *partly.values()}
    return TransferReport(
        kept=tuple(key for key, source_key in copied.items() if key == source_key),
        moved={key: source_key for key, source_key in copied.items() if key != source_key},
        partly=dict.fromkeys(partly, _what_a_head_keeps(target.head.kept_with_other_classes, names, target.names)),
        initialised=tuple(reasons),
        unused=tuple(key for key in state if key not in used),
        layer_of=layer_names(wanted, target.spec),
        source_layer_of=layer_names(state, spec),
        reasons=reasons,
    )


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def match_layers(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """Match layers of the target to layers of the source in their order: by name and shape, otherwise by similarity.

    A layer of the same class and channels precedes one of the same name, such as a level's last block, behind which
    another graph continues to finer levels. The heads correspond to each other under any names.
    """
    heads = source.layers[-1], target.layers[-1]

    def similarity(a: LayerSpec, b: LayerSpec) -> float:
        # A common name or shape outweighs any similarity; layers of different modules have no tensors in common.
        named = SAME_NAME if a.name == b.name or (a is heads[0] and b is heads[1]) else 0.0
        if a.module != b.module:
            return named
        shaped = SAME_SHAPE if a.module not in WITHOUT_TENSORS and _same_channels(a, b) else 0.0
        return named + shaped + layer_similarity(a, b)

    def _same_channels(a: LayerSpec, b: LayerSpec) -> bool:
        one, other = source.info.get(a.name), target.info.get(b.name)
        if one is None or other is None:
            return False
        return (one.in_channels, one.out_channels) == (other.in_channels, other.out_channels)

    return {j: i for i, j in align(source.layers, target.layers, similarity).items()}


def _match_levels(source: ModelSpec, target: ModelSpec) -> dict[int, int]:
    """Level of the source's head by level of the target's head of the same stride."""
    strides = [
        [spec.info[name].stride if name in spec.info else i for i, name in enumerate(spec.layers[-1].inputs)]
        for spec in (source, target)
    ]
    return {i: strides[0].index(stride) for i, stride in enumerate(strides[1]) if stride in strides[0]}


def _at_level(path: str, per_level: Sequence[str], levels: Mapping[int, int]) -> str | None:
    """Path of the tensor of the level with the same stride in the source's head; None if there is no such level."""
    name, *rest = path.split(".")
    if name not in per_level:
        return path
    level = levels.get(int(rest[0]))
    return None if level is None else ".".join((name, str(level), *rest[1:]))


def layer_names(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, str]:
    """Name of the layer by key."""
    return {key: spec.layers[int(key.split(".")[1])].name for key in state}


def _same_classes(names: Mapping[int, str], wanted: Mapping[int, str]) -> dict[int, int]:
    """Index in the source by index in the target of classes of equal name; letter case and outer blanks may differ."""
    exact = {name: i for i, name in names.items()}
    folded = {name.strip().casefold(): i for i, name in names.items() if name not in wanted.values()}
    found = {i: exact.get(name, folded.get(name.strip().casefold())) for i, name in wanted.items()}
    return {i: j for i, j in found.items() if j is not None}


def _reorders(names: Mapping[int, str], wanted: Mapping[int, str]) -> bool:
    """Check whether some class of the source has another index in the target."""
    return any(i != j for i, j in _same_classes(names, wanted).items())


def _what_a_head_keeps(others: str, names: Mapping[int, str], wanted: Mapping[int, str]) -> str:
    """Describe what ``_copy_classes`` keeps."""
    same = _same_classes(names, wanted)
    old, new = ([n for i, n in wanted.items() if (i in same) is known] for known in (True, False))
    kept = f"{others} kept" + (f", also {', '.join(_some(old))}" if old else "")
    return kept + (f"; the classes {', '.join(_some(new))} are newly initialised" if new else "")


def _some(items: Sequence[str]) -> list[str]:
    """The first few items, and the number of further ones."""
    if len(items) <= MOST_LISTED:
        return list(items)
    return [*items[: MOST_LISTED - 1], f"and {len(items) - MOST_LISTED + 1} more"]


def _source_key(state: Mapping[str, Tensor], row: int | None, path: str | None) -> str | None:
    """Find the key in ``state`` for a tensor of a matched layer, whether either layer is gated or not."""
    for candidate in (path, f"module.{path}", path.removeprefix("module.")) if row is not None and path else ():
        key = f"model.{row}.{candidate}"
        if key in state:
            return key
    return None


def _copy_classes(
    source: Tensor, names: Mapping[int, str], tensor: Tensor, wanted: Mapping[int, str], channels: ClassChannels
) -> bool:
    """Copy classes of equal name, and all rows before the classes, between the same tensor of two heads.

    Returns:
        False where the tensors differ in more than their classes; nothing is copied then.
    """
    groups, others = channels
    if source.shape[1:] != tensor.shape[1:] or source.shape[0] != groups * (others + len(names)):
        return False
    from_ = source.view(groups, -1, *source.shape[1:])
    to = tensor.view(groups, -1, *tensor.shape[1:])
    to[:, :others] = from_[:, :others]
    pairs = [(j, i) for i, j in _same_classes(names, wanted).items()]
    if pairs:
        old, new = (torch.tensor(ids) + others for ids in zip(*pairs, strict=True))
        to[:, new] = from_[:, old]
    return True
