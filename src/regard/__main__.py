"""``python -m regard``, and the command ``regard``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regard.errors import RegardError
from regard.system.allocator import keep_freed_memory
from regard.system.home import keep_matplotlib_in_cache, reject_planted_libraries
from regard.system.last_resort import BAD_INPUT, FAILED, INTERRUPTED, flush_output, last_word
from regard.system.terminal import never_fail_to_encode, printable
from regard.system.translation import (
    choose_language,
    translate,
    translate_lines,
    use_language,
    warn_of_unknown_language,
)


def main() -> None:
    """Run the command line.

    What the user can correct is printed without a traceback and exits 2; what the system did, such as a full disk, in
    one line and exits 1; Ctrl-C exits 130.
    """
    keep_freed_memory()  # before anything large is loaded
    keep_matplotlib_in_cache()
    never_fail_to_encode()
    code: int | str | None = 0
    try:
        with suppress(OSError):  # the folder is gone, or may not be read
            reject_planted_libraries(Path.cwd())
        use_language(choose_language(os.environ))  # before typer is imported, which has texts of its own
        from regard.cli import app
        from regard.cli.messages import show_messages

        show_messages()
        warn_of_unknown_language(os.environ)
        with _nothing_from_working_folder():
            app()
    except SystemExit as stop:
        code = stop.code
        if code == INTERRUPTED:
            _print_error(translate("stopped"))
    except RegardError as error:
        _print_error(_error(printable(error.to_text(translate_lines))))
        code = BAD_INPUT
    except BaseException as error:
        word = last_word(error)
        if word is None:  # a fault of the program
            raise
        if word.text:
            text = translate(word.text)
            _print_error(text if word.code == INTERRUPTED else _error(text))
        code = word.code
    if (unwritten := flush_output()) and code == 0:
        _print_error(_error(f"standard output: {unwritten}"))
        code = FAILED
    sys.exit(code)


@contextmanager
def _nothing_from_working_folder() -> Iterator[None]:
    """Let the processes that are started meanwhile import nothing from the working folder."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


def _error(text: str) -> str:
    return translate("error: {0}").replace("{0}", text)


def _print_error(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
