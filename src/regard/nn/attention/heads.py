"""How many heads a number of channels bears."""

from __future__ import annotations

from regard.errors import RegardError


def check_heads(channels: int, heads: int, multiple: int = 1) -> None:
    """Check that ``channels`` can be shared out to ``heads``.

    Args:
        channels: to be shared out evenly.
        heads: that get them.
        multiple: what the channels of a head have to be a multiple of.

    Raises:
        RegardError: they cannot; the nearest number of heads that can is named.
    """
    if heads >= 1 and channels % (heads * multiple) == 0:
        return
    possible = [n for n in range(1, channels + 1) if channels % (n * multiple) == 0]
    what = f"{heads} heads do not share {channels} channels evenly"
    if multiple > 1:
        what += f" in multiples of {multiple}"
    if not possible:
        raise RegardError(what, expected=f"a multiple of {multiple} channels")
    best = min(possible, key=lambda n: (abs(n - heads), n))
    raise RegardError(what, expected="heads: " + ", ".join(map(str, possible)), hint=f"the nearest is {best}")
