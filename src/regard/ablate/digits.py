"""Numbers of a study as text, with as many digits as show what differs: the same in all outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

DIGITS = 4
"""Digits after the point of a difference."""
MOST_DIGITS = 8
"""Digits after the point with which a tiny number is written in full; a smaller one has an exponent."""
SIGNIFICANT = 1
"""Significant digits of a number of which fewer digits after the point would show only zeros."""
ROUNDING = 1e-12
"""Size below which a difference is what the computer's arithmetic leaves of 0."""
FORMATS = (*(f".{digits}f" for digits in range(DIGITS, MOST_DIGITS + 1)), *(f".{digits}e" for digits in range(1, 16)))
"""Formats of numbers that are to be told apart, the shortest first."""


def signed(value: float) -> str:
    """Format a difference with its sign and four digits, or one significant one where these are all 0; "–" for NaN.

    Example:
        >>> signed(0.01234), signed(0.0000123), signed(float("nan"))
        ('+0.0123', '+0.00001', '–')
    """
    return _text(_exact(value), _format(_exact(value), DIGITS), sign=True)


def plain(value: float, digits: int = DIGITS, significant: int = 0) -> str:
    """Format a number, with a significant digit where fewer would show only zeros; "–" for NaN.

    Args:
        value: the number.
        digits: after the point, at least.
        significant: significant digits, at least.

    Example:
        >>> plain(0.5761, 3), plain(0.000021, 3), plain(0.0)
        ('0.576', '0.00002', '0.0000')
    """
    return _text(value, _format(value, digits, significant), sign=False)


def interval(ends: tuple[float, float]) -> str:
    """Format an interval of differences so that its ends look different if they are; "none" for NaN.

    Example:
        >>> interval((-0.01234, 0.005)), interval((-0.000014, -0.00001))
        ('−0.0123 to +0.0050', '−0.000014 to −0.000010')
    """
    return "none" if math.isnan(ends[0]) else " to ".join(signed_apart(ends))


def mean_and_interval(mean: float, ends: tuple[float, float]) -> tuple[str, str]:
    """Format a mean difference and its interval with the digits that tell all three numbers apart.

    Example:
        >>> mean_and_interval(-0.0000124, (-0.000015, -0.00001))
        ('−0.000012', '−0.000015 to −0.000010')
        >>> mean_and_interval(0.25, (float("nan"), float("nan")))
        ('+0.2500', 'none')
    """
    if math.isnan(ends[0]):
        return signed(mean), "none"
    middle, low, high = signed_apart((mean, *ends))
    return middle, f"{low} to {high}"


def signed_apart(values: Sequence[float]) -> list[str]:
    """Format differences as `signed`, but with the digits that tell apart those that differ."""
    values = [_exact(value) for value in values]
    known = {*values}
    found = next((f for f in FORMATS if len({float(f"{value:{f}}") for value in known}) == len(known)), FORMATS[-1])
    return [_text(v, found, sign=True) if found != FORMATS[0] and float(f"{v:{found}}") else signed(v) for v in values]


def counted(count: int, noun: str) -> str:
    """Write a number and its noun.

    Example:
        >>> counted(1, "epoch"), counted(15, "epoch")
        ('1 epoch', '15 epochs')
    """
    return f"{count} {noun}{'s' * (count != 1)}"


def percent(level: float) -> str:
    """Format a level: 0.95 as "95 %"."""
    return f"{100 * level:.6g} %"


def p_value(value: float) -> str:
    """Format a p value with its meaningful digits."""
    return "< 0.0001" if value < 0.0001 else f"{value:.{3 if value >= 0.01 else 4}f}"


def _exact(value: float) -> float:
    return 0.0 if abs(value) < ROUNDING else value


def _format(value: float, digits: int, significant: int = 0) -> str:
    """The format with so many digits after the point, or of the significant ones where these are all 0."""
    if not math.isfinite(value) or value == 0:
        return f".{digits}f"
    if not float(f"{value:.{digits}f}"):
        significant = max(significant, SIGNIFICANT)
    needed = max(digits, significant - 1 - math.floor(math.log10(abs(value))))
    return f".{needed}f" if needed <= max(MOST_DIGITS, digits) else f".{significant - 1}e"


def _text(value: float, how: str, *, sign: bool) -> str:
    if math.isnan(value):
        return "–"
    return f"{value + 0.0:{'+' if sign else ''}{how}}".replace("-", "−")
