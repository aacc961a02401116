"""``python -m regard``, and the command ``regard``."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from regard.allocator import keep_freed_memory
from regard.errors import RegardError, RegardWarning


def main() -> None:
    """Run the command line; what the user can correct is printed without a traceback and exits 2."""
    keep_freed_memory()  # before anything large is loaded
    warnings.showwarning = _show
    warnings.filterwarnings("default", category=DeprecationWarning, module=r"regard(\.|$)")
    from regard.cli import app

    try:
        app()
    except RegardError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the project's own warnings as plain lines, and others as Python does."""
    if issubclass(category, RegardWarning | DeprecationWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr, end="")


if __name__ == "__main__":
    main()
