"""Bounds on what a graph may take while it is built: anyone may have written it, and a line of it may ask for anything.

The size of every result of torch is computed before the result, so an absurd one allocates nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from regard.errors import RegardError

MOST_BYTES = 2**30
"""Bytes of the result of one operation, on the small image on which a graph is built."""

MOST_FLOPS, MOST_OPERATIONS = 2e12, 500_000
"""Floating-point operations of convolutions and products for a graph on that image; and calls of torch."""

MOST_MADE = 2 * 2**30
"""Bytes of all parameters and other new tensors of a graph: 500 million numbers; YOLOv5x6 has 141 million."""

FACTORIES = frozenset(f"aten::{name}" for name in ("empty", "full", "ones", "rand", "randn", "zeros"))
"""Operations whose first argument is the shape of their result."""

AS_LARGE = frozenset(
    f"aten::{name}"
    for name in ("_softmax", "_to_copy", "clone", "lift_fresh", "native_batch_norm", "native_layer_norm")
)
"""Frequent operations whose result is as large as their first argument."""

SMALLER = frozenset(f"aten::{name}" for name in ("amax", "argmax", "max", "mean", "sum", "topk", "var_mean"))
"""Frequent operations whose result is smaller; so is that of pooling."""

PRODUCTS = frozenset(f"aten::{name}" for name in ("addmm", "baddbmm", "bmm", "mm"))


class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Reject operations beyond these bounds while the context is entered; their results remain the same.

    Example:
        >>> with Bounded():
        ...     torch.ones(2**40)
        Traceback (most recent call last):
        regard.errors.RegardError: it computes a tensor of 4,398,046,511,104 bytes
          expected: at most 1,073,741,824
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops, self.operations, self.made = 0, 0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to import torch's compiler, which takes a second and never traces a graph that is being built."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        self.operations += 1
        if self.operations > MOST_OPERATIONS:
            raise RegardError("it takes too many operations of torch", expected=f"at most {MOST_OPERATIONS:,}")
        if not getattr(func, "is_view", False) and not func._schema.is_mutable:
            self._check(func, args, kwargs)
        return func(*args, **kwargs)

    def _check(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        name, work = func._schema.name, 0
        if name in FACTORIES:
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            made = math.prod(args[0]) * dtype.itemsize
            _require_small(made)
            self.made += made
            if self.made > MOST_MADE:
                raise RegardError("the layers are too large", expected=f"tensors of at most {MOST_MADE:,} bytes")
            return
        if name == "aten::convolution":
            size = _convolved(*args)
            work = size * (args[1].numel() // max(args[1].shape[1 if args[6] else 0], 1))
        elif name in PRODUCTS:
            a, b = args[-2:]
            size = a.shape[:-1].numel() * b.shape[-1]
            work = size * a.shape[-1]
        elif name.startswith("aten::upsample"):
            spatial = args[1] or [n * factor for n, factor in zip(args[0].shape[2:], args[-1], strict=True)]
            size = args[0].shape[:2].numel() * math.ceil(math.prod(spatial))
        elif name == "aten::cat":
            size = sum(part.numel() for part in args[0])
        elif torch.Tag.pointwise in func.tags:
            size = _broadcast([value.shape for value in args if isinstance(value, Tensor)])
        elif "_pool" in name and "adaptive" not in name and "unpool" not in name:
            kernel = args[1] if isinstance(args[1], Sequence) else [args[1]] * (args[0].ndim - 2)
            size, work = 0, args[0].numel() * math.prod(kernel)
        elif name in SMALLER:
            size = 0
        elif name in AS_LARGE:
            size = args[0].numel()
        else:
            size = _on_shapes(func, args, kwargs)
        _require_small(size * 4)
        self.flops += 2 * work
        if self.flops > MOST_FLOPS:
            raise RegardError(f"it takes more than {MOST_FLOPS:.0e} operations on a small image")


def _require_small(size: int) -> None:
    if size > MOST_BYTES:
        raise RegardError(f"it computes a tensor of {size:,} bytes", expected=f"at most {MOST_BYTES:,}")


def _convolved(
    x: Tensor,
    weight: Tensor,
    _bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> int:
    """Number of values of a convolution's result (aten::convolution)."""
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, output_padding, strict=False)
    if transposed:
        sides = [(n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, k, s, p, d, o in sizes]
        return x.shape[0] * weight.shape[1] * groups * math.prod(max(side, 0) for side in sides)
    sides = [(n + 2 * p - d * (k - 1) - 1) // max(s, 1) + 1 for n, k, s, p, d, _ in sizes]
    return x.shape[0] * weight.shape[0] * math.prod(max(side, 0) for side in sides)


def _broadcast(shapes: Sequence[torch.Size]) -> int:
    longest = max(map(len, shapes), default=0)
    sides = zip(*((1,) * (longest - len(shape)) + tuple(shape) for shape in shapes), strict=True)
    return math.prod(max(side) for side in sides)


def _on_shapes(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Number of values of a result, by running the operation on tensors without data; 0 where that does not work."""
    known = {name: _shape_of(value) for name, value in kwargs.items()}
    if "device" in known:
        known["device"] = "meta"
    try:
        result = func(*map(_shape_of, args), **known)
    except Exception:  # it depends on values, or fails for a reason that it reports itself
        return 0
    results = result if isinstance(result, tuple | list) else (result,)
    return max((value.untyped_storage().nbytes() // 4 for value in results if isinstance(value, Tensor)), default=0)


def _shape_of(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, list | tuple) and any(isinstance(part, Tensor) for part in value):
        return [_shape_of(part) for part in value]
    return value
