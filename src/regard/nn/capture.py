"""Collecting attention maps by layer name while a network runs, without patching any forward method.

A forward pre-hook remembers what each attention layer was given; its ``attention(x, query)`` then computes the map
from that, with the weights that its ``forward`` used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import RegardError, nearest, one_of
from regard.nn.gate import without_gate
from regard.types import AttentionMap


@dataclass(frozen=True)
class Capture:
    """The attention layers of a network, and what each was given in the last run.

    Attributes:
        modules: attention module by layer name.
        inputs: (B, C, H, W), or a list of such, what each module was last given, by layer name; empty before the run.
    """

    modules: Mapping[str, nn.Module]
    inputs: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def map(self, name: str, query: tuple[int, int] | None = None) -> AttentionMap:
        """Compute the weights that the layer ``name`` used in the last run.

        Args:
            name: of an attention layer.
            query: (row, column) of the position whose weights are computed, on the layer's map, the first if it reads
                several; the centre if None.

        Raises:
            RegardError: no attention layer has this name, it has not run, or ``query`` lies outside its map.
        """
        if name not in self.modules:
            expected = one_of(self.modules) if self.modules else "a network with attention"
            raise RegardError(f"no attention layer {name!r}", expected=expected, hint=nearest(name, self.modules))
        if name not in self.inputs:
            raise RegardError(f"layer {name!r} has not run", hint="call the network inside the block of `capture`")
        attention: Any = self.modules[name]
        found = attention.attention(self.inputs[name], query)
        if not isinstance(found, AttentionMap):
            what = f"attention() of layer {name!r} returns a {type(found).__name__}"
            raise RegardError(what, expected="regard.types.AttentionMap")
        kinds = AttentionMap.dimensions
        if found.kind not in kinds:
            what = f"attention() of layer {name!r} returns a map of kind {found.kind!r}"
            raise RegardError(what, expected=one_of(kinds), hint=nearest(found.kind, kinds))
        if found.weights.ndim != kinds[found.kind]:
            what = f"attention() of layer {name!r} returns {found.kind!r} weights of shape {tuple(found.weights.shape)}"
            raise RegardError(what, expected=f"{kinds[found.kind]} dimensions: see regard.types.AttentionMap")
        return found

    def maps(self, query: tuple[int, int] | None = None) -> dict[str, AttentionMap]:
        """Compute the weights of every layer that has run, by name; see ``map``."""
        return {name: self.map(name, query) for name in self.inputs}


@contextmanager
def capture(layers: Iterable[tuple[str, nn.Module]]) -> Iterator[Capture]:
    """Collect what the attention modules among ``layers`` are given until the block ends.

    ::

        with capture(detector.named_layers()) as seen:
            detector(images)
        seen.map("sppf.se").weights  # (B, C)

    Args:
        layers: name and layer, as ``Detector.named_layers`` gives them.
    """
    seen = Capture(attention_modules(layers))
    hooks = [module.register_forward_pre_hook(_remember(seen.inputs, name)) for name, module in seen.modules.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def attention_modules(layers: Iterable[tuple[str, nn.Module]]) -> dict[str, nn.Module]:
    """Find all modules with a method ``attention``, by name; a gate is not part of the name.

    A module inside a layer is called ``<layer>.<path>``. What lies inside an attention module is a part of it.
    """
    found: dict[str, nn.Module] = {}
    for name, layer in layers:
        module = without_gate(layer)
        if is_attention(module):
            found[name] = module
        else:
            found |= attention_modules((f"{name}.{path}", child) for path, child in module.named_children())
    return found


def is_attention(module: nn.Module) -> bool:
    """Whether a module has attention weights to show."""
    return callable(getattr(type(module), "attention", None))  # of the class: a submodule may have that name as well


def _remember(inputs: dict[str, Any], name: str) -> Any:
    def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        given = arguments[0]
        inputs[name] = given.detach() if isinstance(given, Tensor) else [x.detach() for x in given]

    return hook
