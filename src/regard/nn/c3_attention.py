"""C3 with any attention of the catalogue in its bottlenecks: `C3Attention: {attention: CBAM}`.

After the cross-stage-partial block (Wang et al., 1911.11929, as in YOLOv5): half of the channels pass a stack of
bottlenecks, y = x + A(F(x)), F the two convolutions of the bottleneck and A the attention, which is placed as SE is
in a residual block (1709.01507, figure 3): behind the convolutions and before the sum.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from regard.errors import RegardError, nearest
from regard.nn.attention import ATTENTION, Attention
from regard.nn.blocks import C3, Bottleneck


class AttentiveBottleneck(Bottleneck):
    """A bottleneck with attention behind its convolutions, whose names and weights are those of a bottleneck of C3.

    Args:
        channels: channels of the input and the output.
        attention: what the convolutions' output passes.
        shortcut: whether to add the input.
        groups: groups of the 3x3 convolution.
    """

    def __init__(self, channels: int, attention: Attention, shortcut: bool = True, groups: int = 1) -> None:
        super().__init__(channels, channels, shortcut, groups, 1.0)
        self.attend = attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        y = self.attend(self.cv2(self.cv1(x)))
        return x + y if self.add else y


class C3Attention(C3):
    """C3 whose bottlenecks end in attention.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        attention: name of a module of the catalogue.
        shortcut: whether the bottlenecks add their input.
        groups: groups of their 3x3 convolutions.
        expansion: hidden channels as a fraction of the output's; the attention works on these.
        options: of the attention, by name.
        repeats: bottlenecks in the stack, each with separate attention.

    Raises:
        RegardError: there is no such attention, it has no such option, or the hidden channels do not suit it.
    """

    options_of: ClassVar[Mapping[str, tuple[str, Mapping[str, type[Attention]]]]] = {
        "options": ("attention", ATTENTION)
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        attention: str = "MultiHeadSelfAttention",
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
        options: Mapping[str, Any] | None = None,
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, shortcut, groups, expansion, repeats=0)
        hidden, options = self.cv1.out_channels, options or {}
        kinds = (attention_named(attention, hidden, options) for _ in range(repeats))
        self.m = nn.Sequential(*(AttentiveBottleneck(hidden, kind, shortcut, groups) for kind in kinds))

    @property
    def attentions(self) -> list[Attention]:
        """Attention of each bottleneck."""
        return [module.attend for module in self.m.children() if isinstance(module, AttentiveBottleneck)]


def attention_named(name: str, channels: int, options: Mapping[str, Any]) -> Attention:
    """Build a module of the catalogue.

    Raises:
        RegardError: there is none of this name, it has no such option, or the channels do not suit it.
    """
    if name not in ATTENTION:
        expected = "one of " + ", ".join(ATTENTION)
        raise RegardError(f"C3Attention: unknown attention {name!r}", expected=expected, hint=nearest(name, ATTENTION))
    _, *known = inspect.signature(ATTENTION[name]).parameters
    for option in options:
        if option not in known:
            what = f"C3Attention: {name} has no option {option!r}"
            raise RegardError(what, expected="one of " + (", ".join(known) or "none"), hint=nearest(option, known))
    build: Any = ATTENTION[name]
    module: Attention = build(channels, **options)
    if module.out_channels != channels:
        what = f"C3Attention: {name} turns {channels} channels into {module.out_channels}"
        raise RegardError(what, expected=f"attention that keeps {channels} channels")
    return module
