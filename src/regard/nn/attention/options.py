"""Checks of the options that several kinds of attention share."""

from __future__ import annotations

from collections.abc import Sequence

from regard.errors import RegardError, nearest

MAP_POSITIONS = ("none", "sinusoidal", "learned", "conditional")
"""Kinds of position that act on the map, before queries and keys part."""

PAIR_FREE_POSITIONS = (*MAP_POSITIONS, "rotary")
"""Kinds of position that need no table of all pairs of positions."""


def check_choice(owner: str, option: str, value: str, choices: Sequence[str]) -> None:
    """Check that ``value`` is one of ``choices``.

    Raises:
        RegardError: it is not; the nearest choice is named.
    """
    if value not in choices:
        expected = "one of " + ", ".join(choices)
        raise RegardError(f"{owner}: unknown {option} {value!r}", expected=expected, hint=nearest(value, choices))


def check_positions(owner: str, positions: str, choices: Sequence[str] = PAIR_FREE_POSITIONS) -> None:
    """Check that a kind of attention that never holds all pairs can use these positions.

    Raises:
        RegardError: it cannot; those that it can use are named.
    """
    if positions not in choices:
        what = f"{owner} cannot use {positions!r} positions"
        raise RegardError(what, expected="one of " + ", ".join(choices), hint=nearest(positions, choices))


def check_at_least(owner: str, option: str, value: int, least: int) -> None:
    """Check that a whole number is not below ``least``.

    Raises:
        RegardError: it is.
    """
    if value < least:
        what = f"{owner}: {option} {value} is too small"
        raise RegardError(what, expected=f"{least} or more", hint=f"the nearest is {least}")


def check_groups(owner: str, channels: int, groups: int) -> None:
    """Check that ``channels`` fall into ``groups`` of equal size.

    Raises:
        RegardError: they do not; the nearest number of groups that they fall into is named.
    """
    if groups >= 1 and channels % groups == 0:
        return
    possible = [n for n in range(1, channels + 1) if channels % n == 0]
    best = min(possible, key=lambda n: (abs(n - groups), n))
    what = f"{owner}: {channels} channels do not fall into {groups} equal groups"
    raise RegardError(what, expected="groups: " + ", ".join(map(str, possible)), hint=f"the nearest is {best}")
