"""The core that every kind of attention on maps shares: the contract, tokens and heads, scores and weights.

Scaled dot-product attention (Vaswani et al., 1706.03762, equation 1): b_i = sum_j a_ij v_j with
a_i = softmax_j(q_i . k_j / sqrt(d_k)). ``attention_weights`` writes a_ij out; ``fused_attention`` gives b_i by a
fused kernel, which never stores the N x N weights. ``mixing`` marks the products of queries, keys and values, so that
``regard.profiling`` can count them and measure a network without them.

Tokens are in reading order: token ``row * W + column`` is the position (row, column).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError, nearest, one_of
from regard.nn.renamed import OldNames
from regard.types import AttentionMap

Size = tuple[int, int]


@dataclass(frozen=True)
class Card:
    """One line of the catalogue. The formulas are Python expressions that a test compares with the counted values.

    They are written in C (channels of the input), H, W, N = H * W, and the integer attributes of the module by name.

    Attributes:
        family: "channel", "spatial", "channel and spatial", "global", "local", "sparse", "low-rank", "kernel" or
            "convolution".
        paper: arXiv identifier, or the reference where there is none.
        equation: what is computed, in one line.
        parameters: number of learned values with default options, such as ``"4 * C**2 + 4 * C"``.
        flops: operations per image, such as ``"8 * N * C**2 + 4 * N**2 * C"``.
        peers: independent implementations that tests prove it equal to, such as ``("torch.nn.MultiheadAttention",)``.
        when: one sentence on when one would want it, as far as its construction shows; the catalogue adds what the
            studies of this project found.
        linear: whether its cost is proportional to the number of positions.
        obstacle: why it cannot be exported, "" if it can.
        instead: name of the nearest module that can be exported, if this one cannot.
    """

    family: str
    paper: str
    equation: str
    parameters: str
    flops: str = ""
    peers: tuple[str, ...] = ()
    when: str = ""
    linear: bool = True
    obstacle: str = ""
    instead: str = ""


class Attention(OldNames, nn.Module, ABC):
    """Base class of the catalogue. A subclass builds from ``in_channels`` alone; all other arguments are options.

    Costs are counted by ``regard.profiling``, so a module states none. Where an option does not fit, the constructor
    raises a ``RegardError`` that names the nearest valid choice.

    Attributes:
        card: its line in the catalogue.
        in_channels: channels of the input.
        out_channels: channels of the output.
        note: remark on this instance for `regard summary`, or "".
    """

    card: ClassVar[Card]

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels or in_channels
        self.note = ""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W), by the fastest exact path."""

    @abstractmethod
    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Weights that ``forward`` uses for ``x``.

        Args:
            x: (B, C, H, W).
            query: (row, column) of the position whose weights are computed, where they depend on one; the centre if
                None.
        """


class Reweighting(Attention):
    """Attention that scales its input, y = x * w(x): one weight per channel, or one per value."""

    @abstractmethod
    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> one weight per channel, (B, C), or one per value, (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        weights = self.weights(x).to(x.dtype)
        return x * (weights[:, :, None, None] if weights.ndim == 2 else weights)

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:  # noqa: ARG002
        """Weights of the channels, or of all values; the same for every query."""
        weights = self.weights(x)
        return AttentionMap("channel" if weights.ndim == 2 else "elements", weights)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C); a view."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: Size) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), the inverse of ``to_tokens``."""
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, *size)


def split_heads(tokens_bnc: Tensor, num_heads: int) -> Tensor:
    """(B, N, C) -> (B, heads, N, C / heads); a view whose last dimension stays contiguous, as fused kernels require."""
    batch, tokens, channels = tokens_bnc.shape
    return tokens_bnc.view(batch, tokens, num_heads, channels // num_heads).transpose(1, 2)


def merge_heads(tokens_bhnd: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads * d), the inverse of ``split_heads``."""
    return tokens_bhnd.transpose(1, 2).flatten(2)


ScoreActivation = Callable[[Tensor, Tensor | None], Tensor]
"""Turns scores (..., queries, keys) into weights. Where a boolean mask, which broadcasts to that shape, is False, the
weight is exactly zero."""


def softmax(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """exp(s_j) / sum over j of exp(s_j): rows sum to 1 (1706.03762, equation 1)."""
    return _masked(scores, allowed, -torch.inf).softmax(-1)


def relu(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """max(s_j, 0) / N over the N visible keys (2309.08586): rows need not sum to 1."""
    return _masked(scores, allowed, 0.0).relu() / _count(scores, allowed)


def squared_relu(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """max(s_j, 0)^2 / N over the N visible keys (2202.10447, section 3.1)."""
    return _masked(scores, allowed, 0.0).relu().square() / _count(scores, allowed)


def sigmoid(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """1 / (1 + exp(log N - s_j)) over the N visible keys (2409.04431, equation 3 with b = -log N)."""
    shifted = scores - torch.as_tensor(_count(scores, allowed), dtype=scores.dtype, device=scores.device).log()
    return _masked(shifted, allowed, -torch.inf).sigmoid()


def _masked(scores: Tensor, allowed: Tensor | None, value: float) -> Tensor:
    return scores if allowed is None else scores.masked_fill(~allowed, value)


def _count(scores: Tensor, allowed: Tensor | None) -> Tensor | int:
    """Number of visible keys per query, (..., 1), or one number for all."""
    return scores.shape[-1] if allowed is None else allowed.sum(-1, keepdim=True).clamp(min=1)


SCORE_ACTIVATIONS: Mapping[str, ScoreActivation] = MappingProxyType(
    {"softmax": softmax, "relu": relu, "squared_relu": squared_relu, "sigmoid": sigmoid}
)


def choose_score_activation(name: str) -> ScoreActivation:
    """Look up a score activation.

    Raises:
        RegardError: there is none of this name.
    """
    if name not in SCORE_ACTIVATIONS:
        expected = one_of(SCORE_ACTIVATIONS)
        what = f"unknown score_activation {name!r}"
        raise RegardError(what, expected=expected, hint=nearest(name, SCORE_ACTIVATIONS))
    return SCORE_ACTIVATIONS[name]


def attention_weights(
    q: Tensor,
    k: Tensor,
    activation: ScoreActivation = softmax,
    *,
    bias: Tensor | None = None,
    allowed: Tensor | None = None,
) -> Tensor:
    """Attention weights a_ij, written out: (..., N, d_k), (..., M, d_k) -> (..., N, M).

    Args:
        q: queries.
        k: keys.
        activation: turns scores into weights.
        bias: added to the scaled scores; broadcasts to (..., N, M).
        allowed: True where a query may see a key; broadcasts to (..., N, M). All other weights are exactly 0.

    Example:
        >>> attention_weights(torch.zeros(1, 3, 4), torch.zeros(1, 2, 4))[0, 0]
        tensor([0.5000, 0.5000])
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return activation(scores if bias is None else scores + bias, allowed)


def fused_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    activation: ScoreActivation = softmax,
    *,
    bias: Tensor | None = None,
    allowed: Tensor | None = None,
) -> Tensor:
    """Values (..., M, d_v) weighted by ``attention_weights`` and summed: (..., N, d_v), by the fused kernel.

    The last dimension of ``q``, ``k`` and ``v`` has to be contiguous: with another layout, or with values wider or
    narrower than keys, torch would silently take a path of quadratic memory. The narrower are therefore padded with
    zeros, which add nothing. A score activation other than the softmax is written out, with quadratic memory.
    """
    if activation is not softmax:
        return attention_weights(q, k, activation, bias=bias, allowed=allowed) @ v
    mask = bias if allowed is None else allowed if bias is None else bias.masked_fill(~allowed, -math.inf)
    if mask is not None and 2 < mask.ndim < q.ndim:
        mask = mask[(None,) * (q.ndim - mask.ndim)]  # the kernel takes masks of two dimensions or of all
    return mixing(fused_kernel, q, k, v, mask, without=lambda: values_for(q, v))


def fused_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Queries, keys, values and a mask, True or a bias where a key is visible -> (..., N, d_v)."""
    d_k, d_v = q.shape[-1], v.shape[-1]
    wide = max(d_k, d_v)
    q, k, v = (t if t.shape[-1] == wide else F.pad(t, (0, wide - t.shape[-1])) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1 / math.sqrt(d_k))[..., :d_v]


Watch = Callable[[Callable[..., Tensor], tuple[Any, ...], Tensor], Tensor]
"""Takes part in ``mixing``: called with the step, its inputs, and the tensor that may replace the result."""

_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


def mixing(step: Callable[..., Tensor], *inputs: Any, without: Tensor | Callable[[], Tensor]) -> Tensor:
    """Run ``step(*inputs)``, in which positions exchange values: the part that a cheaper kind of attention replaces.

    ``regard cost`` counts the operations inside as mixing, and bounds what a cheaper kind could bring by measuring the
    network without the step. A module that calls ``scaled_dot_product_attention`` or ``torch.nn.MultiheadAttention``
    needs no mark; one that writes its products out calls them through this function::

        mixed = mixing(self.mix, q, k, v, without=v)

    Args:
        step: gives the mixed values.
        inputs: its arguments.
        without: replaces the result when mixing is left out: a tensor of the same shape that costs nothing, such as
            the values themselves, or what gives one.
    """
    watch = _WATCH.get()
    if watch is None:
        return step(*inputs)
    return watch(step, inputs, without() if callable(without) else without)


@contextmanager
def watch_mixing(watch: Watch) -> Iterator[None]:
    """Hand every ``mixing`` step to ``watch`` until the block ends."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


def values_for(queries: Tensor, values: Tensor) -> Tensor:
    """One value per query without mixing: (..., N, d_k), (..., M, d_v) -> (..., N, d_v), a view."""
    n = queries.shape[-2]
    return values if values.shape[-2] == n else values[..., :1, :].expand(*values.shape[:-2], n, values.shape[-1])


def no_autocast(like: Tensor) -> AbstractContextManager[object]:
    """Context without autocast, in which float32 stays float32, on the device of ``like``."""
    device = like.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)  # meta has no autocast


def check_query(query: Size | None, size: Size) -> Size:
    """Position of the query, the centre if None.

    Raises:
        RegardError: it lies outside the map.
    """
    height, width = size
    if query is None:
        return height // 2, width // 2
    if not (0 <= query[0] < height and 0 <= query[1] < width):
        expected = f"a row of 0..{height - 1} and a column of 0..{width - 1}"
        raise RegardError(f"query {query} lies outside the map", expected=expected)
    return query


def least(a: Any, b: Any) -> Any:
    """Smaller of two sizes, where Python's ``min`` would fix them at export.

    Args:
        a: a whole number, a symbol for one in ``torch.export``, or () in a trace, where sizes are tensors.
        b: likewise.
    """
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.minimum(torch.as_tensor(a), torch.as_tensor(b))
    return torch.sym_min(a, b)


def ceil_div(n: int, by: int) -> int:
    """n / by, rounded up, for n >= 0."""
    return (n + by - 1) // by  # not -(-n // by): ONNX rounds the quotient of a negative size towards zero


def check_choice(owner: str, option: str, value: str, choices: Sequence[str]) -> None:
    """Check that ``value`` is one of ``choices``.

    Raises:
        RegardError: it is not; the nearest choice is named.
    """
    if value not in choices:
        expected = one_of(choices)
        raise RegardError(f"{owner}: unknown {option} {value!r}", expected=expected, hint=nearest(value, choices))


def check_at_least(owner: str, option: str, value: float, least: int) -> None:
    """Check that a number is not below ``least``.

    Raises:
        RegardError: it is.
    """
    if value < least:
        what = f"{owner}: {option} {value} is too small"
        raise RegardError(what, expected=f"{least} or more", hint=f"the nearest is {least}")


def check_odd(owner: str, option: str, value: int) -> None:
    """Check that the side of a window or a kernel is odd and positive, so that it has a centre.

    Raises:
        RegardError: it is not.
    """
    if value < 1 or value % 2 == 0:
        hint = f"the nearest is {max(1, value + 1)}"
        raise RegardError(f"{owner}: {option} {value} is not odd and positive", expected="an odd number", hint=hint)


def check_divides(channels: int, parts: int, name: str = "num_heads", multiple: int = 1) -> None:
    """Check that ``channels`` can be divided into equal ``parts``.

    Args:
        channels: to be divided.
        parts: number of heads or groups.
        name: of the option that states ``parts``.
        multiple: the channels of each part have to be a multiple of this.

    Raises:
        RegardError: they do not; the nearest number of parts that works is named.
    """
    if parts >= 1 and channels % (parts * multiple) == 0:
        return
    possible = [n for n in range(1, channels + 1) if channels % (n * multiple) == 0]
    what = f"{name} {parts} does not divide {channels} channels"
    if multiple > 1:
        what += f" into multiples of {multiple}"
    if not possible:
        raise RegardError(what, expected=f"a multiple of {multiple} channels")
    best = min(possible, key=lambda n: (abs(n - parts), n))
    raise RegardError(what, expected=f"{name}: " + ", ".join(map(str, possible)), hint=f"the nearest is {best}")
