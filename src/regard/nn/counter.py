"""Counting what modules cost: operations, those of them that mix positions, and memory kept for the backward pass.

One forward pass is watched, operator by operator; on the meta device it takes neither memory nor arithmetic. Counted as
other tools do are the products of convolutions and matrices, a multiplication and an addition as two. All that channel
attention does besides is pooling, scaling and activations, so inside attention each of those counts as one per element
that it takes or gives; exponentials, roots, normalisations and softmax are not counted. Mixing, the bias of a linear
layer and ``normalize`` count by their products alone, so that attention costs 4 C per pair of positions, fused or not.

Mixing is what ``regard.nn.attention.core.mixing`` marks, ``scaled_dot_product_attention``, and the same inside
``torch.nn.MultiheadAttention``; no module has to state anything.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import FunctionType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from regard.nn.attention.core import Watch, fused_kernel, values_for, watch_mixing
from regard.nn.capture import is_attention
from regard.nn.gate import Gated

_SUMS = ("add", "sub", "rsub", "mul", "div", "pow")
_POOLINGS = ("mean", "sum", "amax", "amin", "max", "min", "avg_pool2d", "_adaptive_avg_pool2d")
_ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu", "silu", "hardswish", "hardsigmoid", "leaky_relu", "elu", "mish")

PER_ELEMENT = frozenset((*_SUMS, *_POOLINGS, *_ACTIVATIONS))
"""Operators that count one per element inside attention."""

PRODUCTS_ALONE = (F.linear, F.normalize)

BATCH_NORM = torch.ops.aten.native_batch_norm.default
FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


@dataclass(frozen=True)
class Cost:
    """What one forward pass costs.

    Attributes:
        flops: operations; a multiplication and an addition count as two.
        mixing_flops: the part of ``flops`` in which positions exchange values, which a cheaper kind could save.
        activation_bytes: memory that is kept for the backward pass.
    """

    flops: int = 0
    mixing_flops: int = 0
    activation_bytes: int = 0

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.flops - other.flops,
            self.mixing_flops - other.mixing_flops,
            self.activation_bytes - other.activation_bytes,
        )


class FusedFunctions(TorchFunctionMode):
    """Hands fused attention to a watch while the mode is active, also inside ``torch.nn.MultiheadAttention``.

    Args:
        watch: see ``regard.nn.attention.core.mixing``.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one of torch's functions."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            given = inspect.signature(_scaled_dot_product_attention).bind(*args, **kwargs).args
            return self.watch(_scaled_dot_product_attention, given, values_for(given[0], given[2]))
        if func is F.multi_head_attention_forward:
            with self:
                return _seen_inside(func)(*args, **kwargs)
        return func(*args, **kwargs)


class WatchedMixing(nn.Module):
    """A layer whose mixing is watched and, as a rule, left out: values are passed on unchanged.

    Args:
        module: the layer; nothing in it has to be declared.
        leave_out: False lets it mix. Watching takes time, the same in both cases, so the difference of their times is
            the time of mixing.
    """

    def __init__(self, module: nn.Module, *, leave_out: bool = True) -> None:
        super().__init__()
        self.module, self.leave_out = module, leave_out

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """(B, C, H, W), or one for each layer that is read -> (B, C', H, W)."""
        return _watched(_leave_out if self.leave_out else _mix, self.module, x)


def forward_without_mixing(module: nn.Module, *inputs: Any) -> Any:
    """Run a module without its mixing: no cheaper kind of attention could be faster."""
    return _watched(_leave_out, module, *inputs)


def _watched(watch: Watch, module: nn.Module, *inputs: Any) -> Any:
    with watch_mixing(watch), FusedFunctions(watch):
        return module(*inputs)


def _leave_out(_step: Callable[..., Tensor], _inputs: tuple[Any, ...], without: Tensor) -> Tensor:
    return without


def _mix(step: Callable[..., Tensor], inputs: tuple[Any, ...], _without: Tensor) -> Tensor:
    return step(*inputs)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while it is active; ``cost`` is the total so far.

    Args:
        module: whose parameters and buffers do not count as activations, and inside whose attention pooling, scaling
            and activations count.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.mixing_flops = self.activation_bytes = 0
        self._module = module
        self._in_attention = self._products_alone = self._in_mixing = self._uncounted = 0
        self._kept = {_key(t): t for t in (*module.parameters(), *module.buffers())}
        self._open = ExitStack()

    @property
    def cost(self) -> Cost:
        """All that has been counted."""
        return Cost(self.flops, self.mixing_flops, self.activation_bytes)

    def __enter__(self) -> Self:
        enter = self._open.enter_context
        for module in _outermost_attention(self._module):
            enter(hooked(module, partial(self._step, "_in_attention", 1), lambda _: self._step("_in_attention", -1)))
        enter(torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor))
        enter(torch.enable_grad())
        enter(watch_mixing(self.mix))
        enter(_Bracketed(self))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._open.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and count it."""
        known = func is BATCH_NORM and _normalised(*args)
        result = known or func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self._count(int(formula(*args, **(kwargs or {}), out_val=result)))
        elif self._in_attention and not self._products_alone:
            name = func._schema.name.split("::")[1].rstrip("_")
            touched = [t for t in tree_leaves((args, result)) if isinstance(t, Tensor)]
            if name in PER_ELEMENT and any(t.is_floating_point() for t in touched):
                self._count(max(t.numel() for t in touched))
        return result

    def products_alone(self) -> AbstractContextManager[None]:
        """Count convolutions and matrix products only until the block ends."""
        return self._inside("_products_alone")

    def mix(self, step: Callable[..., Tensor], inputs: tuple[Any, ...], _without: Tensor) -> Tensor:
        """Run a step that mixes positions, and count its products as such."""
        with self._inside("_in_mixing"), self._inside("_products_alone"):
            if step not in FUSED:
                return step(*inputs)
            self._count(_flops_of_fused(*inputs[:3]))  # as if written out, whichever kernel runs
            with self._inside("_uncounted"):
                return step(*inputs)

    def _count(self, flops: int) -> None:
        if not self._uncounted:
            self.flops += flops
            self.mixing_flops += flops if self._in_mixing else 0

    @contextmanager
    def _inside(self, name: str) -> Iterator[None]:
        self._step(name, 1)
        yield
        self._step(name, -1)

    def _step(self, name: str, by: int) -> None:
        setattr(self, name, getattr(self, name) + by)

    def _keep(self, tensor: Tensor) -> Tensor:
        if _key(tensor) not in self._kept:
            self._kept[_key(tensor)] = tensor  # kept, so that no storage is used twice
            self.activation_bytes += tensor.untyped_storage().nbytes()
        return tensor


class _Bracketed(FusedFunctions):
    """Reports torch's functions to a counter before they run."""

    def __init__(self, counter: Counter) -> None:
        super().__init__(counter.mix)
        self.counter = counter

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in PRODUCTS_ALONE:
            with self.counter.products_alone():
                return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


def count(module: nn.Module, *inputs: Any) -> Cost:
    """Count one forward pass of a module as it is, in training or evaluation mode.

    Args:
        module: any module; nothing in it has to be declared.
        inputs: its arguments; tensors on the meta device, as the module, for costs without memory or arithmetic.

    Example:
        >>> layer = nn.Linear(4, 3, bias=False)
        >>> count(layer, torch.zeros(1, 5, 4)).flops
        120
    """
    counter = Counter(module)
    with counter:
        module(*inputs)
    return counter.cost


def count_on_map(module: nn.Module, channels: int, height: int, width: int) -> Cost:
    """Count one image of a module that reads one map, in evaluation mode and float32.

    It is copied to the meta device, which takes neither memory nor arithmetic. What cannot run there, because its work
    depends on the values, runs on a map of noise where it is.
    """
    training = module.training
    try:
        return count_without_values(copy.deepcopy(module).to("meta", torch.float32), channels, height, width)
    except RuntimeError:
        like = next(module.parameters(), torch.empty(0))
        x = torch.randn(1, channels, height, width, device=like.device, dtype=like.dtype, requires_grad=True)
        return count(module.eval(), x)
    finally:
        module.train(training)


def count_without_values(module: nn.Module, channels: int, height: int, width: int) -> Cost:
    """Count one image of a module on the meta device that reads one map, in evaluation mode and float32.

    Raises:
        RuntimeError: its work depends on the values.
    """
    return count(module.eval(), torch.empty(1, channels, height, width, device="meta", requires_grad=True))


def _outermost_attention(module: nn.Module) -> Iterator[nn.Module]:
    """Attention in a module, and gates around attention; not what lies inside them."""
    gated = isinstance(module, Gated) and is_attention(module.module)
    if gated or is_attention(module):
        yield module
        return
    for child in module.children():
        yield from _outermost_attention(child)


@contextmanager
def hooked(module: nn.Module, before: Callable[[], None], after: Callable[[Any], None]) -> Iterator[None]:
    """Call functions before and after a module runs, the latter with its output, until the block ends."""
    hooks = [
        module.register_forward_pre_hook(lambda *_: before()),
        module.register_forward_hook(lambda _module, _inputs, output: after(output)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Torch's function; on the meta device too by the fused kernel, wherever a processor would use it.

    Torch has no kernel to choose there and writes the weights out, whose memory the real kernel never takes.
    """
    q, k, v, mask = query, key, value, attn_mask
    even = q.ndim == 4 and q.shape[-1] == v.shape[-1] and q.shape[:2] == k.shape[:2] and q.numel() and k.numel()
    fused = even and all(t.stride(-1) == 1 for t in (q, k, v)) and not dropout_p
    if not (q.is_meta and fused) or (mask is not None and mask.requires_grad):
        options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
        return F.scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal, **options)
    if mask is not None and mask.dtype == torch.bool:  # as torch does before it calls the kernel
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf)
    mixed: Tensor = FLASH(q, k, v, 0.0, is_causal, attn_mask=mask, scale=scale)[0]
    return mixed


def _normalised(
    x: Tensor, _weight: Any, _bias: Any, mean: Tensor | None, variance: Tensor | None, training: bool, *_: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Outputs of batch normalisation on the meta device, where torch needs ten operators written in Python for them."""
    if training or mean is None or variance is None or not x.is_meta or not x.is_contiguous():
        return None
    if not x.dtype == mean.dtype == variance.dtype == torch.float32:
        return None
    return torch.empty_like(x), torch.empty_like(mean), torch.empty_like(variance)


def _flops_of_fused(q: Tensor, k: Tensor, v: Tensor) -> int:
    """Products of all queries with all keys, and of the weights with all values."""
    return 2 * q.numel() // q.shape[-1] * k.shape[-2] * (q.shape[-1] + v.shape[-1]) if q.numel() else 0


def _seen_inside(function: Callable[..., Any]) -> Callable[..., Any]:
    """Copy of a Python function of torch whose own calls an active mode sees; the original would hand itself over."""
    inner = inspect.unwrap(function)
    assert isinstance(inner, FunctionType)
    names = {**inner.__globals__, "has_torch_function": lambda _: False}
    same = FunctionType(inner.__code__, names, inner.__name__, inner.__defaults__, inner.__closure__)
    same.__kwdefaults__ = inner.__kwdefaults__
    return same


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


FUSED = (fused_kernel, _scaled_dot_product_attention)
"""Steps whose products are those of their queries, keys and values, whichever kernel runs."""
