"""C3, C2f and C3k2 with any attention of the catalogue: `C3Attention: {attention: CBAM}`.

After the cross-stage-partial block (Wang et al., 1911.11929, as in YOLOv5, v8 and 11): a part of the channels passes a
stack of bottlenecks, y = x + F(x), F their two convolutions. The attention A has one of two placements:

* ``bottleneck``: y = x + A(F(x)) in each bottleneck, which is the place of SE in a residual block (1709.01507, figure
  3): behind the convolutions and before the sum;
* ``stack``: once, on the map of the last bottleneck, before it is joined with the other part.

Attention on the output of the block is a row of its own behind it. All other tensors have the names of the plain block.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from regard.errors import RegardError, nearest, one_of
from regard.nn.attention import ATTENTION, Attention
from regard.nn.blocks import C3, Bottleneck
from regard.nn.c2f import C2f, C3k2
from regard.nn.join import chained, join

Placement = Literal["bottleneck", "stack"]
Options = Mapping[str, Any] | None


class AttentiveBottleneck(Bottleneck):
    """A bottleneck with attention behind its convolutions, whose names and weights are those of a plain one.

    Args:
        attention: what the convolutions' output passes.
        plain: a bottleneck, whose layers are used.
    """

    def __init__(self, attention: Attention, plain: Bottleneck) -> None:
        nn.Module.__init__(self)
        self.out_channels, self.add = plain.out_channels, plain.add
        self.cv1, self.cv2 = plain.cv1, plain.cv2
        self.attend = attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        y = self.attend(self.cv2(self.cv1(x)))
        return x + y if self.add else y


class WithAttention(nn.Module):
    """What the blocks below have in common: the table of their options, and their attention."""

    options_of: ClassVar[Mapping[str, tuple[str, Mapping[str, type[Attention]]]]] = {
        "options": ("attention", ATTENTION)
    }
    attend: Attention | None

    @property
    def attentions(self) -> list[Attention]:
        """Attention of each bottleneck, or that behind their stack."""
        inside = [module.attend for module in self.modules() if isinstance(module, AttentiveBottleneck)]
        return [*inside, *([self.attend] if self.attend is not None else [])]

    def _put(self, attention: str, channels: int, options: Options, placement: Placement) -> None:
        """Place attention in every bottleneck, or behind them, in a block that is built otherwise."""
        block = type(self).__name__
        self.attend = None
        if placement == "stack":
            self.attend = attention_named(attention, channels, options or {}, block)
            return
        for parent in list(self.modules()):
            for name, child in parent.named_children():
                if type(child) is Bottleneck:
                    inside = attention_named(attention, child.out_channels, options or {}, block)
                    setattr(parent, name, AttentiveBottleneck(inside, child))


class C3Attention(WithAttention, C3):
    """C3 whose bottlenecks end in attention.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        attention: name of a module of the catalogue.
        shortcut: whether the bottlenecks add their input.
        groups: groups of their 3x3 convolutions.
        expansion: hidden channels as a fraction of the output's; the attention works on these.
        options: of the attention, by name.
        placement: "bottleneck", for attention in each of them, or "stack", for one behind the last.
        repeats: bottlenecks in the stack.

    Raises:
        RegardError: there is no such attention, it has no such option, or the hidden channels do not suit it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        attention: str = "MultiHeadSelfAttention",
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
        options: Options = None,
        placement: Placement = "bottleneck",
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, shortcut, groups, expansion, repeats=0)
        hidden = self.cv1.out_channels
        if placement == "stack":
            self.m = self.stack(hidden, repeats, shortcut, groups)
            self._put(attention, hidden, options, placement)
            return
        self.attend = None
        blocks = (  # the order in which parameters are drawn
            AttentiveBottleneck(
                attention_named(attention, hidden, options or {}, "C3Attention"),
                Bottleneck(hidden, hidden, shortcut, groups, 1.0),
            )
            for _ in range(repeats)
        )
        self.m = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        y = self.m(self.cv1(x))
        return self.cv3(join((y if self.attend is None else self.attend(y), self.cv2(x))))


class _AttentiveChain(WithAttention, C2f):
    """C2f with attention behind its last block, if there is any."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        maps = chained([*self.cv1(x).chunk(2, 1)], self.m)
        if self.attend is not None:
            maps[-1] = self.attend(maps[-1])
        return self.cv2(join(maps))


class C2fAttention(_AttentiveChain):
    """C2f whose bottlenecks end in attention.

    Args:
        in_channels, out_channels, shortcut, groups, expansion, repeats: as for `C2f`.
        attention, options, placement: as for `C3Attention`; the attention works on the channels of a half.

    Raises:
        RegardError: as for `C3Attention`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        attention: str = "MultiHeadSelfAttention",
        shortcut: bool = False,
        groups: int = 1,
        expansion: float = 0.5,
        options: Options = None,
        placement: Placement = "bottleneck",
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, shortcut, groups, expansion, repeats=repeats)
        self._put(attention, self.hidden, options, placement)


class C3k2Attention(_AttentiveChain, C3k2):
    """C3k2 whose bottlenecks, those within C3k included, end in attention.

    Args:
        in_channels, out_channels, c3k, expansion, groups, shortcut, repeats: as for `C3k2`.
        attention, options, placement: as for `C3Attention`; the attention works on the channels of a half.

    Raises:
        RegardError: as for `C3Attention`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        attention: str = "MultiHeadSelfAttention",
        c3k: bool = False,
        expansion: float = 0.5,
        groups: int = 1,
        shortcut: bool = True,
        options: Options = None,
        placement: Placement = "bottleneck",
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, c3k, expansion, False, groups, shortcut, repeats=repeats)
        self._put(attention, self.hidden, options, placement)


def attention_named(name: str, channels: int, options: Mapping[str, Any], block: str = "C3Attention") -> Attention:
    """Build a module of the catalogue for the inside of ``block``.

    Raises:
        RegardError: there is none of this name, it has no such option, or the channels do not suit it.
    """
    if name not in ATTENTION:
        expected = one_of(ATTENTION)
        raise RegardError(f"{block}: unknown attention {name!r}", expected=expected, hint=nearest(name, ATTENTION))
    _, *known = inspect.signature(ATTENTION[name]).parameters
    for option in options:
        if option not in known:
            what = f"{block}: {name} has no option {option!r}"
            raise RegardError(what, expected=one_of(known), hint=nearest(option, known))
    build: Any = ATTENTION[name]
    module: Attention = build(channels, **options)
    if module.out_channels != channels:
        what = f"{block}: {name} turns {channels} channels into {module.out_channels}"
        raise RegardError(what, expected=f"attention that keeps {channels} channels")
    return module
