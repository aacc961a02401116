"""``python -m regard``, and the command ``regard``."""

from __future__ import annotations

import sys

from regard.errors import RegardError
from regard.system.allocator import keep_freed_memory


def main() -> None:
    """Run the command line; what the user can correct is printed without a traceback and exits 2."""
    keep_freed_memory()  # before anything large is loaded
    from regard.cli import app
    from regard.cli.messages import show_messages

    try:
        show_messages()
        app()
    except RegardError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
