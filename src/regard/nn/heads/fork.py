"""Detection heads of forks of YOLOv5, which do not follow this package's contract, as heads of it.

Such a class is built as ``Class(nc, anchors, ..., channels)``, gets its strides from outside, and turns a list of maps
into a list of raw levels; in evaluation mode many return the decoded boxes too. What it computes is kept; decoding,
loss and anchors are those of `YOLOv5Head`, which is compared with its own decoding where it has one.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from regard.errors import RegardError, warn
from regard.nn.heads.base import ClassChannels
from regard.nn.heads.yolov5 import YOLOv5Head, anchors_per_cell, default_anchors
from regard.nn.raw_levels import OTHERS

MADE = "_regard_head"
"""Attribute of a fork's class: the head that was made of it."""
CELLS = 2
"""Cells per side of the coarsest level on which a head is tried."""
TOLERANCE = 1e-3
"""Largest difference of a decoding, relative to the values, that is not another decoding."""
OUTPUTS = "one tensor (B, anchors x (5 + nc), ny, nx) or (B, anchors, ny, nx, 5 + nc) per level, decoded as in YOLOv5"
CONTRACT = (
    f"a class (nc, anchors, ..., channels) that turns the list of maps into {OUTPUTS}, or a subclass of "
    "regard.nn.heads.Head"
)


class ForkHead(YOLOv5Head):
    """A head of another project around its own class; see `fork_head`. Its tensors have that class's names.

    Args:
        in_channels: channels of each level, which the class gets after all other arguments.
        args: arguments of the row: classes, anchors, and what else the class has.
        strides: input pixels per cell of each level.
        options: arguments of the row by name.

    Raises:
        RegardError: the class cannot be built in this way, or its outputs are none of YOLOv5's.
    """

    own_class: ClassVar[type[nn.Module]]
    _own: Any

    def __init__(self, in_channels: Sequence[int], *args: Any, strides: Sequence[int], **options: Any) -> None:
        nn.Module.__init__(self)
        nc, anchors = self._classes_and_anchors(args, in_channels, strides)
        self.nc, self.strides, self.anchors_per_cell = nc, tuple(strides), anchors_per_cell(anchors)
        own = self._constructed((nc, anchors, *args[2:]), list(in_channels), options)
        shared = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
        self.__dict__.update({name: getattr(own, name) for name in shared}, _own=own)
        self._fit_own(torch.tensor(anchors, dtype=torch.float32).view(len(strides), -1, 2))
        self.train(self.training)
        with torch.random.fork_rng(devices=[]):
            self._check(in_channels)
        self._plain = [name for name in self._modules if self._is_plain(name)]
        if "m" in self._plain:
            self._set_prior()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles refer to the fork's class, as this one is made while the program runs."""
        return _empty, (self.own_class,), self.__dict__

    def train(self, mode: bool = True) -> ForkHead:
        """Set the mode of its layers; the fork's own decoding, which follows evaluation mode, is never run."""
        super().train(mode)
        self._own.training = True
        return self

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_i, ny, nx)] -> raw levels [(B, A, ny, nx, OTHERS + nc)]."""
        split = (self.anchors_per_cell, OTHERS + self.nc)
        raw = self._raw(self._own(list(features)))
        return [y if y.ndim == 5 else torch.unflatten(y, 1, split).permute(0, 1, 3, 4, 2).contiguous() for y in raw]

    def outputs(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_i, ny, nx)] -> [(B, A * (OTHERS + nc), ny, nx)], the channels anchor-major."""
        raw = self._raw(self._own(list(features)))
        return [y if y.ndim == 4 else y.permute(0, 1, 4, 2, 3).flatten(1, 2) for y in raw]

    def class_channels(self) -> dict[str, ClassChannels]:
        """Those of its convolutions that give nothing but its outputs; see `Head.class_channels`."""
        channels = ClassChannels(self.anchors_per_cell, OTHERS)
        return {f"{name}.{key}": channels for name in self._plain for key in self.get_submodule(name).state_dict()}

    def _classes_and_anchors(
        self, args: Sequence[Any], in_channels: Sequence[int], strides: Sequence[int]
    ) -> tuple[int, list[list[float]]]:
        anchors = args[1] if len(args) > 1 else None
        if isinstance(anchors, int) and not isinstance(anchors, bool) and anchors > 0:
            anchors = default_anchors(strides, anchors)
        if not args or not isinstance(args[0], int) or not isinstance(anchors, Sequence) or isinstance(anchors, str):
            raise self._error(f"its arguments are {list(args)}", expected="nc and anchors first, as in [nc, anchors]")
        if len(anchors) != len(in_channels):
            raise RegardError(f"{len(anchors)} levels of anchors for {len(in_channels)} detection levels")
        return args[0], [list(level) for level in anchors]

    def _constructed(self, args: Sequence[Any], channels: list[int], options: dict[str, Any]) -> nn.Module:
        try:
            return self.own_class(*args, channels, **options)
        except Exception as error:  # a user's class may raise any exception
            raise self._error(
                f"called with {len(args)} arguments and the channels, it raises {_where(error)}"
            ) from error

    def _fit_own(self, pixels: Tensor) -> None:
        """Set what the fork's training sets from outside: the strides, and anchors in strides instead of pixels."""
        own, strides = self._own, torch.tensor(self.strides, dtype=torch.float32)
        scaled = pixels / strides.view(-1, 1, 1)
        own.stride = strides
        if isinstance(own._buffers.get("anchors"), Tensor) and own._buffers["anchors"].shape == scaled.shape:
            own._buffers["anchors"] = scaled
        else:
            own.__dict__.pop("anchors", None)
            own._buffers["anchors"] = scaled

    def _is_plain(self, name: str) -> bool:
        module, out = self._modules[name], self.anchors_per_cell * (OTHERS + self.nc)
        return (
            isinstance(module, nn.ModuleList)
            and len(module) == len(self.strides)
            and all(isinstance(m, nn.Conv2d) and m.out_channels == out and m.bias is not None for m in module)
        )

    @torch.no_grad()
    def _check(self, in_channels: Sequence[int]) -> None:
        """Run the class in both modes and compare its decoding, where it has one, with that of `YOLOv5Head`."""
        own, modes = self._own, [(module, module.training) for module in self._own.modules()]
        side = CELLS * max(self.strides)
        maps = [torch.randn(1, c, side // s, side // s) for c, s in zip(in_channels, self.strides, strict=True)]
        own.eval()
        try:
            decoded = own([x.clone() for x in maps])
            own.training = True
            raw = self.levels(maps)
        except RegardError:
            raise
        except Exception as error:  # a user's class may raise any exception
            raise self._error(f"in use, it raises {_where(error)}") from error
        for module, mode in modes:
            module.training = mode
        rows = decoded[0] if isinstance(decoded, tuple) and decoded else decoded
        boxes, scores = self.decode(raw)
        if not isinstance(rows, Tensor) or rows.shape != (*boxes.shape[:2], OTHERS + self.nc):
            what = f"{self.own_class.__name__} returns raw outputs only; they are decoded, and trained, as in YOLOv5"
            warn(what)
            return
        for mine, other in ((boxes, rows[..., :4]), (scores, rows[..., 4:5] * rows[..., OTHERS:])):
            if not torch.allclose(mine, other.float(), rtol=TOLERANCE, atol=TOLERANCE):
                raise self._error("it decodes its outputs in another way than YOLOv5")

    def _raw(self, outputs: Any) -> list[Tensor]:
        """The raw levels among what the class returned.

        Raises:
            RegardError: they are none of YOLOv5's.
        """
        found = outputs
        if isinstance(found, tuple) and found and isinstance(found[-1], list | tuple):
            found = found[-1]
        channels = self.anchors_per_cell * (OTHERS + self.nc)
        shape = (self.anchors_per_cell, OTHERS + self.nc)
        if isinstance(found, list | tuple) and len(found) == len(self.strides):
            ok = [
                isinstance(y, Tensor)
                and ((y.ndim == 4 and y.shape[1] == channels) or (y.ndim == 5 and (y.shape[1], y.shape[4]) == shape))
                for y in found
            ]
            if all(ok):
                return list(found)
        raise self._error(f"it returns {_described(outputs)}", expected=f"{CONTRACT}; anchors here are {shape[0]}")

    def _error(self, what: str, expected: str = CONTRACT) -> RegardError:
        try:
            file = f" ({inspect.getfile(self.own_class)})"
        except (TypeError, OSError):
            file = ""
        return RegardError(
            f"{self.own_class.__name__}{file} cannot be used as a detection head: {what}", expected=expected
        )


def fork_head(own_class: type[nn.Module]) -> type[ForkHead]:
    """Make a head of a fork's class; the same class for the same one."""
    known: type[ForkHead] | None = vars(own_class).get(MADE)
    if known is None:
        space = {"own_class": own_class, "__doc__": own_class.__doc__, "__module__": own_class.__module__}
        known = type(own_class.__name__, (ForkHead,), space)
        setattr(own_class, MADE, known)
    return known


def _empty(own_class: type[nn.Module]) -> ForkHead:
    kind = fork_head(own_class)
    return kind.__new__(kind)


def _where(error: Exception) -> str:
    """An exception and the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (line {frame.lineno} of {Path(frame.filename).name})"


def _described(outputs: Any) -> str:
    if isinstance(outputs, Tensor):
        return f"a tensor {tuple(outputs.shape)}"
    if isinstance(outputs, list | tuple):
        return f"a {type(outputs).__name__} of " + ("; ".join(_described(y) for y in outputs) or "nothing")
    return f"a {type(outputs).__name__}"
