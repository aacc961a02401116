"""Rows that cannot be built, as far as the wiring of their graph can be checked without them.

Nobody knows their layer, their arguments mean two things, or the layer does not take them. What such a layer does to
its map is not known, so it is replaced by each guess: it keeps the size, or, if its arguments have a 2 where a
convolution has its stride, halves it. Only a row that is wrong under every guess is reported.
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

LEAST_CHANNELS, MOST_CHANNELS = 8, 2**16
"""A smaller or larger first argument is no number of channels."""


class _Guess(nn.Module):
    """A layer of the stated output channels; several maps of one size are concatenated."""

    takes_channels = False
    width = 1.0
    halves = False

    def __init__(self, *args: Any, **_: Any) -> None:
        super().__init__()
        is_stated = args and type(args[0]) is int and LEAST_CHANNELS <= args[0] <= MOST_CHANNELS
        stated = args[0] if is_stated else None
        self.out = None if stated is None else scale_channels(stated, self.width)
        self.stride = 2 if self.halves and 2 in args[1:3] else 1

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        x = x if isinstance(x, Tensor) else cat(list(x), 1)
        out = x.shape[1] if self.out is None else self.out
        return functional.max_pool2d(x.mean(1, keepdim=True), self.stride).expand(-1, out, -1, -1)


def check_known(spec: ModelSpec, modules: Mapping[str, type[nn.Module]]) -> tuple[list[RegardError], list[WiringError]]:
    """Check a graph, and name the rows in it that cannot be built.

    Returns:
        An error for each unknown layer, at its first row, and for each other row that cannot be built; and what
        `regard.graph.build.check` finds with each guess.

    Raises:
        RegardError: the graph cannot be built, for a reason that is not that of a row alone.
    """
    unknown = unknown_names(spec, modules)
    errors = [_error(name, spec, modules) for name in unknown]
    spec = _with_known_head(spec, unknown)
    found: list[list[WiringError]] = []
    for halves in (False, True):
        made = {"width": spec.width_multiple, "halves": halves, "__module__": __name__}
        guesses = {name: type(name, (_Guess,), made) for name in unknown}
        faults, one = _check_rest(spec, {**modules, **guesses}, made, raises=not errors)
        errors += [fault for fault in faults if fault.line not in {error.line for error in errors}]
        if one is not None:
            found.append(one)
        if not errors:
            break
    rows = [{finding.row.name for finding in one} for one in found]
    errors.sort(key=lambda error: error.line or 0)
    return errors, [finding for finding in (found[0] if found else []) if all(finding.row.name in r for r in rows)]


def _check_rest(
    spec: ModelSpec, modules: dict[str, type[nn.Module]], made: dict[str, Any], *, raises: bool
) -> tuple[list[RegardError], list[WiringError] | None]:
    """Check a graph whose faulty rows are replaced by a guess, one after another; None where a guess does not fit.

    Raises:
        RegardError: an error is that of no row alone; unless it can be that of a guess.
    """
    faults: list[RegardError] = []
    guessed: set[int] = set()
    while True:
        try:
            return faults, check(spec, modules=modules)
        except RegardError as error:
            rows = [i for i, row in enumerate(spec.layers) if row.line is not None and row.line == error.line]
            if len(rows) != 1 or rows[0] in guessed:
                if raises and not faults:
                    raise
                return faults, None
            faults.append(error)
            guessed.add(rows[0])
            row = spec.layers[rows[0]]
            if row is spec.layers[-1]:
                spec = _with_known_head(spec, [row.module])
                continue
            name = f"{row.module}?"
            modules[name] = type(name, (_Guess,), made)
            args = (*row.args, *row.options.values())
            layers = (*spec.layers[: rows[0]], replace(row, module=name, args=args, options={}, gate=False))
            spec = replace(spec, layers=(*layers, *spec.layers[rows[0] + 1 :]))


def with_others(error: RegardError, spec: ModelSpec, modules: Mapping[str, type[nn.Module]] | None) -> RegardError:
    """Add to the error of a row what else is wrong in its graph, which it would hide until it is mended."""
    try:
        errors, found = check_known(spec, modules or {})
    except RegardError:
        return error
    if error.line not in [one.line for one in errors]:
        return error
    file = spec.file or ""
    others = [f"{one.file or file}:{one.line}: {one.what}\n  {one.expected or one.hint or ''}" for one in errors]
    others = [text for text, one in zip(others, errors, strict=True) if one.line != error.line]
    others += [f"{x.row.file or file}:{x.row.line}: {x.what}\n  {x.corrected}" for x in found if not x.note]
    if not others:
        return error
    hint = "\n".join([*([error.hint] if error.hint else []), "wrong in this file too:", *others])
    return RegardError(error.what, file=error.file, line=error.line, expected=error.expected, hint=hint)


def _error(name: str, spec: ModelSpec, modules: Mapping[str, type[nn.Module]]) -> RegardError:
    row = next(row for row in spec.layers if row.module == name)
    try:
        find_class(name, modules)
    except RegardError as error:
        what = f"layer {row.name!r}: {error.what}"
        return spec.error_at(row, what, expected=error.expected, hint=error.hint)
    raise AssertionError(name)


def _with_known_head(spec: ModelSpec, unknown: Sequence[str]) -> ModelSpec:
    """Replace an unknown head, such as that of a segmentation model, which reads the same maps."""
    if not spec.layers or spec.layers[-1].module not in unknown:
        return spec
    head = spec.layers[-1]
    args: tuple[Any, ...] = ("nc",) if spec.anchors is None else ("nc", "anchors")
    module = "AnchorFreeDetect" if spec.anchors is None else "Detect"
    return replace(spec, layers=(*spec.layers[:-1], replace(head, module=module, args=args, options={})))
