"""What the catalogue's page says of an attention module, kept beside the code that it describes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One line of the catalogue. The formulas are Python expressions, which a test evaluates against the module.

    They are written in C (channels of the input), H, W, N = H * W, and the integer attributes of the module by name.

    Attributes:
        family: "channel", "spatial", "channel and spatial", "global", "local", "sparse", "low-rank", "kernel" or
            "convolution".
        paper: arXiv identifier, or the reference where there is none.
        equation: what is computed, in one line.
        parameters: number of learned values with default positions, such as ``"4 * C**2 + 4 * C"``.
        flops: operations for one image, such as ``"8 * N * C**2 + 4 * N**2 * C"``.
        peers: what it is proven equal to, such as ``("torch.nn.MultiheadAttention",)``.
        linear: whether its cost grows in proportion to the number of positions.
        obstacle: why it cannot be exported, "" if it can.
        instead: name of the nearest module that can be exported, where this one cannot.
    """

    family: str
    paper: str
    equation: str
    parameters: str
    flops: str
    peers: tuple[str, ...]
    linear: bool = True
    obstacle: str = ""
    instead: str = ""
