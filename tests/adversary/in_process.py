"""Commands of regard in this process, which other processes would take seconds to start."""

from __future__ import annotations

import sys

from regard.__main__ import main


def run(*arguments: str) -> int:
    """Run a command and return its exit code."""
    before, sys.argv = sys.argv, ["regard", *arguments]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0
