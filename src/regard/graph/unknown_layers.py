"""Layers that nobody knows, as far as the wiring of their graph can be checked without them.

What such a layer does to its map is not known, so it is replaced by each guess: it keeps the size, or, if its arguments
have a 2 where a convolution has its stride, halves it. Only a row that is wrong under every guess is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, cat, nn
from torch.nn import functional

from regard.errors import RegardError
from regard.graph.aliases import find_class, unknown_names
from regard.graph.bind import scale_channels
from regard.graph.build import check
from regard.graph.lint import WiringError
from regard.graph.spec import ModelSpec

LEAST_CHANNELS = 8
"""A smaller first argument is no number of channels."""


class _Guess(nn.Module):
    """A layer of the stated output channels; several maps of one size are concatenated."""

    takes_channels = False
    width = 1.0
    halves = False

    def __init__(self, *args: Any, **_: Any) -> None:
        super().__init__()
        stated = args[0] if args and type(args[0]) is int and args[0] >= LEAST_CHANNELS else None
        self.out = None if stated is None else scale_channels(stated, self.width)
        self.stride = 2 if self.halves and 2 in args[1:3] else 1

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        x = x if isinstance(x, Tensor) else cat(list(x), 1)
        out = x.shape[1] if self.out is None else self.out
        return functional.max_pool2d(x.mean(1, keepdim=True), self.stride).expand(-1, out, -1, -1)


def check_known(spec: ModelSpec, modules: Mapping[str, type[nn.Module]]) -> tuple[list[RegardError], list[WiringError]]:
    """Check a graph, and name the layers in it that neither the package nor ``modules`` has.

    Returns:
        An error for each such layer, at its first row, and what `regard.graph.build.check` finds with each guess.

    Raises:
        RegardError: a known layer cannot be built.
    """
    unknown = unknown_names(spec, modules)
    if not unknown:
        return [], check(spec, modules=modules)
    errors = [_error(name, spec, modules) for name in unknown]
    spec = _with_known_head(spec, unknown)
    found: list[list[WiringError]] = []
    for halves in (False, True):
        made = {"width": spec.width_multiple, "halves": halves, "__module__": __name__}
        guessed = {name: type(name, (_Guess,), made) for name in unknown}
        try:
            found.append(check(spec, modules={**modules, **guessed}))
        except RegardError:
            continue  # a guess that does not fit
    rows = [{finding.row.name for finding in one} for one in found]
    return errors, [finding for finding in (found[0] if found else []) if all(finding.row.name in r for r in rows)]


def _error(name: str, spec: ModelSpec, modules: Mapping[str, type[nn.Module]]) -> RegardError:
    row = next(row for row in spec.layers if row.module == name)
    try:
        find_class(name, modules)
    except RegardError as error:
        what, where = f"layer {row.name!r}: {error.what}", row.file or spec.file
        return RegardError(what, file=where, line=row.line, expected=error.expected, hint=error.hint)
    raise AssertionError(name)


def _with_known_head(spec: ModelSpec, unknown: Sequence[str]) -> ModelSpec:
    """Replace an unknown head, such as that of a segmentation model, which reads the same maps."""
    head = spec.layers[-1]
    if head.module not in unknown:
        return spec
    args: tuple[Any, ...] = ("nc",) if spec.anchors is None else ("nc", "anchors")
    module = "AnchorFreeDetect" if spec.anchors is None else "Detect"
    return replace(spec, layers=(*spec.layers[:-1], replace(head, module=module, args=args, options={})))
