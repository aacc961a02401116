"""Activations that a graph may name for its convolutions, as YOLOv5 v7's ``activation: nn.LeakyReLU(0.1)``.

The text is compared with a fixed list and never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from regard.errors import RegardError, nearest, one_of
from regard.nn.conv import Conv
from regard.nn.gelan import RepConv

DEFAULT = "nn.SiLU()"

ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        name: getattr(nn, name)
        for name in ("SiLU", "ReLU", "ReLU6", "LeakyReLU", "ELU", "Hardswish", "Mish", "GELU", "Tanh", "Identity")
    }
)
WITH_NUMBER = ("LeakyReLU", "ELU")

_CALL = re.compile(r"(?:torch\.)?(?:nn\.)?(\w+)(?:\((.*)\))?\s*")
_IN_PLACE = re.compile(r"inplace\s*=\s*(True|False)")
_NUMBER = re.compile(r"(?:(?:negative_slope|alpha)\s*=\s*)?(\d{0,9}\.?\d{1,20}(?:[eE][-+]?\d)?)")


def plain_activation(text: object) -> str:
    """Write an activation in one form.

    Raises:
        RegardError: it is not in the list; the nearest is suggested.

    Example:
        >>> plain_activation("torch.nn.LeakyReLU(negative_slope=0.1, inplace=True)")
        'nn.LeakyReLU(0.1)'
    """
    call = _CALL.fullmatch(text.strip()) if isinstance(text, str) else None
    name = call[1] if call else str(text)
    arguments = [part.strip() for part in (call[2] or "").split(",") if part.strip()] if call else [""]
    numbers = [part for part in arguments if not _IN_PLACE.fullmatch(part)]
    number = _NUMBER.fullmatch(numbers[0]) if len(numbers) == 1 and name in WITH_NUMBER else None
    if name not in ACTIVATIONS or (numbers and number is None):
        raise RegardError(
            f"activation is {text!r}",
            expected=one_of(f"nn.{n}({'0.1' if n in WITH_NUMBER else ''})" for n in ACTIVATIONS),
            hint=nearest(name, ACTIVATIONS),
        )
    return f"nn.{name}({float(number[1]):g})" if number else f"nn.{name}()"


def set_activation(layer: nn.Module, activation: str) -> None:
    """Give all convolutions of the package in ``layer`` that end in SiLU another activation.

    Args:
        layer: a layer, changed in place.
        activation: as `plain_activation` writes it.
    """
    name, _, number = activation.removeprefix("nn.").rstrip(")").partition("(")
    for part in layer.modules():
        if isinstance(part, Conv | RepConv) and isinstance(part.act, nn.SiLU):
            part.act = ACTIVATIONS[name](float(number)) if number else ACTIVATIONS[name]()
