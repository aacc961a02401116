"""Positions: without them, self-attention does not change with the order of its tokens.

Each kind acts at one of three places: on the map before queries and keys are taken from it (sinusoidal, learned,
conditional), on queries and keys (rotary), or on the scores (relative, log_cpb). All work at any size of the map.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError, nearest, one_of


class Position(nn.Module):
    """No position at all, and the three places where a kind of position acts."""

    def on_map(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x

    def on_heads(self, q_or_k: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ARG002
        """(B, heads, H * W, d) -> (B, heads, H * W, d); ``size`` is (H, W)."""
        return q_or_k

    def on_scores(self, size: tuple[int, int]) -> Tensor | None:  # noqa: ARG002
        """What is added to the scores, (heads, H * W, H * W), if anything."""
        return None

    def on_row(self, query: tuple[int, int], size: tuple[int, int]) -> Tensor | None:  # noqa: ARG002
        """What is added to the scores of one query, (heads, 1, H * W), if anything."""
        return None


def sinusoid(positions: Tensor, channels: int, base: float = 10000.0) -> Tensor:
    """Sin and cos of each position at ``channels / 2`` wavelengths: (N,) -> (N, channels), sines first.

    Wavelengths grow geometrically from 2 pi towards 2 pi * base (1706.03762, section 3.5, where sines and cosines
    alternate instead).
    """
    rates = base ** (-torch.arange(0, channels, 2, device=positions.device, dtype=positions.dtype) / channels)
    angles = positions[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), -1)


class Sinusoidal(Position):
    """Half of the channels encode the row, half the column, by sines and cosines (1706.03762; in 2-D as 2005.12872)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        _check_multiple_of_four("sinusoidal", channels)

    def on_map(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        channels, height, width = x.shape[1:]
        rows = sinusoid(torch.arange(height, device=x.device, dtype=torch.float32), channels // 2).T
        columns = sinusoid(torch.arange(width, device=x.device, dtype=torch.float32), channels // 2).T
        table = torch.cat((rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)))
        return x + table.to(x.dtype)


class Learned(Position):
    """A learned table of ``side`` x ``side`` vectors, interpolated to the map's size (2010.11929, section 3.2)."""

    def __init__(self, channels: int, side: int = 20) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(1, channels, side, side))
        nn.init.trunc_normal_(self.table, std=0.02)

    def on_map(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + F.interpolate(self.table, size=x.shape[2:], mode="bilinear", align_corners=False)


class Conditional(Position):
    """A 3 x 3 depth-wise convolution added to the map; zero padding makes the border visible (2102.10882)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def on_map(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.conv(x)


class Rotary(Position):
    """Pairs of channels of queries and keys are turned by angles that grow with row (first half) and column.

    The product of a query and a key then depends on their offset alone (2104.09864; in 2-D as 2403.13298).
    """

    def __init__(self, head_channels: int, base: float = 100.0) -> None:
        super().__init__()
        _check_multiple_of_four("rotary", head_channels)
        self.base = base

    def on_heads(self, q_or_k: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, heads, H * W, d) -> (B, heads, H * W, d)."""
        angles = self._angles(size, q_or_k).to(q_or_k.device)
        cosine, sine = angles.cos().to(q_or_k.dtype), angles.sin().to(q_or_k.dtype)
        first, second = q_or_k.chunk(2, -1)
        return torch.cat((first * cosine - second * sine, first * sine + second * cosine), -1)

    def _angles(self, size: tuple[int, int], like: Tensor) -> Tensor:
        """Angles (H * W, d / 2): a quarter of the channels rotates with the row, a quarter with the column."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        quarter = like.shape[-1] // 4
        rates = self.base ** (-torch.arange(quarter, device=like.device, dtype=dtype) / quarter)
        rows, columns = (torch.arange(n, device=like.device, dtype=dtype)[:, None] * rates for n in size)
        height, width = size
        pair = (rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1))
        return torch.cat(pair, -1).flatten(0, 1)


class OffsetBias(Position):
    """A bias for each head and each offset of key from query; a subclass defines it.

    The table of all pairs takes quadratic memory; attention by tiles asks for the offsets that occur instead.

    Args:
        reach: steps along an axis up to which ``at`` distinguishes offsets.
        step: rows, and columns, in a step. Offsets that are no multiple of it have no meaning.
    """

    def __init__(self, reach: int, step: int) -> None:
        super().__init__()
        self.reach = reach
        self.step = step

    @abstractmethod
    def of(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Biases of all pairs of so many steps along each axis: (n,), (m,) -> (heads, n, m)."""

    def biases(self, rows: int, columns: int) -> Tensor:
        """Biases of offsets up to so many steps either way: (heads, 2 rows + 1, 2 columns + 1)."""
        return self.of(*(torch.arange(-most, most + 1) for most in (rows, columns)))

    def at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Bias of offsets that broadcast to a common shape: (heads, *shape)."""
        return self._look_up(rows // self.step, columns // self.step, (self.reach, self.reach))

    def on_scores(self, size: tuple[int, int]) -> Tensor:
        """Bias of all pairs, (heads, H * W, H * W)."""
        rows, columns = (offsets_of_pairs(n) for n in size)
        most = (size[0] - 1, size[1] - 1)
        return self._look_up(rows[:, None, :, None], columns[None, :, None, :], most).flatten(3).flatten(1, 2)

    def on_row(self, query: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Bias of one query, (heads, 1, H * W), from its offsets alone."""
        rows, columns = (torch.arange(n) - at for n, at in zip(size, query, strict=True))
        return self.of(rows, columns).flatten(1)[:, None]

    def _look_up(self, rows: Tensor, columns: Tensor, most: tuple[int, int]) -> Tensor:
        biases = self.biases(*most)
        row, column = ((at.clamp(-n, n) + n).to(biases.device) for at, n in zip((rows, columns), most, strict=True))
        return biases[:, row, column]


class Relative(OffsetBias):
    """A learned bias for each head and each offset of key from query (1910.10683 in 2-D, as 2103.14030, equation 4).

    Offsets beyond ``reach`` share the bias of the farthest one.

    Args:
        num_heads: number of heads; each has separate biases.
        reach: steps along an axis up to which offsets are distinguished.
        step: rows, and columns, in a step.
    """

    def __init__(self, num_heads: int, reach: int = 19, step: int = 1) -> None:
        super().__init__(reach, step)
        self.table = nn.Parameter(torch.empty(num_heads, 2 * reach + 1, 2 * reach + 1))
        nn.init.trunc_normal_(self.table, std=0.02)

    def of(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Biases of all pairs of so many steps along each axis: (n,), (m,) -> (heads, n, m)."""
        row, column = (self._places(steps) for steps in (rows, columns))
        return self.table[:, row[:, None], column]

    def _places(self, steps: Tensor) -> Tensor:
        return steps.to(self.table.device).clamp(-self.reach, self.reach) + self.reach


class LogSpaced(OffsetBias):
    """A bias that a small network makes of the logarithm of an offset: "log-CPB" (2111.09883, equations 3 and 4).

    B(u) = 8 tanh(W_2 relu(W_1 u + b_1) / 2), u = sign(o) log2(1 + 8 |o| / reach) / 3 for the offset o along each axis.
    It is smooth, has the same number of parameters for any reach, and extends beyond it: weights learned on small maps
    can be used on larger ones. The scaling of u and the bound on B are those of the authors' code, where
    B = 16 sigmoid(...). The two differ by 8 everywhere, which does not change the softmax but costs precision in
    narrow types.

    Args:
        num_heads: number of heads; each has separate biases.
        reach: steps along an axis that become 1.
        step: rows, and columns, in a step.
        hidden: width of the network.
    """

    def __init__(self, num_heads: int, reach: int = 19, step: int = 1, hidden: int = 512) -> None:
        super().__init__(reach, step)
        self.hidden = nn.Linear(2, hidden)
        self.out = nn.Linear(hidden, num_heads, bias=False)

    def of(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Biases of all pairs of so many steps along each axis: (n,), (m,) -> (heads, n, m)."""
        row, column = (self._spaced(steps) for steps in (rows, columns))
        offsets = torch.stack((row[:, None].expand(-1, column.shape[0]), column.expand(row.shape[0], -1)), -1)
        made: Tensor = self.out(F.relu(self.hidden(offsets)))
        return 8 * torch.tanh(made / 2).permute(2, 0, 1)

    def _spaced(self, steps: Tensor) -> Tensor:
        weight = self.hidden.weight
        exact = torch.float64 if weight.dtype == torch.float64 else torch.float32
        steps = steps.to(weight.device, exact)
        return (steps.sign() * torch.log2(1 + steps.abs() * (8 / max(self.reach, 1))) / 3).to(weight.dtype)


def offsets_of_pairs(n: int) -> Tensor:
    """Offset of key from query for each pair of places on an axis: (n, n)."""
    places = torch.arange(n)
    return places[None] - places[:, None]


POSITIONS: Mapping[str, Callable[[int, int], Position]] = MappingProxyType(
    {
        "none": lambda channels, heads: Position(),  # noqa: ARG005
        "sinusoidal": lambda channels, heads: Sinusoidal(channels),  # noqa: ARG005
        "learned": lambda channels, heads: Learned(channels),  # noqa: ARG005
        "conditional": lambda channels, heads: Conditional(channels),  # noqa: ARG005
        "rotary": lambda channels, heads: Rotary(channels // heads),
        "relative": lambda channels, heads: Relative(heads),  # noqa: ARG005
        "log_cpb": lambda channels, heads: LogSpaced(heads),  # noqa: ARG005
    }
)


MAP_POSITIONS = ("none", "sinusoidal", "learned", "conditional")
"""Kinds of position that act on the map, before queries and keys part."""

PAIR_FREE_POSITIONS = (*MAP_POSITIONS, "rotary")
"""Kinds of position that need no table of all pairs of positions."""


def check_pos_embed(owner: str, pos_embed: str, choices: Sequence[str] = PAIR_FREE_POSITIONS) -> None:
    """Check that a kind of attention that never stores all pairs can use these positions.

    Raises:
        RegardError: it cannot; those that it can use are named.
    """
    if pos_embed not in choices:
        what = f"{owner} cannot use {pos_embed!r} positions"
        raise RegardError(what, expected=one_of(choices), hint=nearest(pos_embed, choices))


def choose_position(name: str, channels: int, num_heads: int) -> Position:
    """Kind of position of this name for maps of ``channels`` channels and attention of ``num_heads`` heads.

    Raises:
        RegardError: there is none, or it does not suit the number of channels.
    """
    if name not in POSITIONS:
        expected = one_of(POSITIONS)
        raise RegardError(f"unknown pos_embed {name!r}", expected=expected, hint=nearest(name, POSITIONS))
    return POSITIONS[name](channels, num_heads)


def _check_multiple_of_four(kind: str, channels: int) -> None:
    if channels % 4:
        low = math.floor(channels / 4) * 4
        nearest_ = f"{low} or {low + 4}" if low else "4"
        what = f"{kind} positions need sines and cosines of rows and columns, which do not fit into {channels} channels"
        raise RegardError(what, expected=f"a multiple of 4 channels, such as {nearest_}")
