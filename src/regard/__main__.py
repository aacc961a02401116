"""``python -m regard``, and the command ``regard``. What it needs is imported where Ctrl-C is answered already."""

from __future__ import annotations

import sys

from regard.system.interrupts import defer_interrupts, end_at_interrupt


def main() -> None:
    """Run the command line.

    What the user can correct is printed without a traceback and exits 2; what the system did, such as a full disk, in
    one line and exits 1; Ctrl-C exits 130.
    """
    try:
        defer_interrupts()
        code = _run()
    except KeyboardInterrupt:  # it came before or after the command
        code = 130
        end_at_interrupt(code)
        print("stopped", file=sys.stderr, flush=True)
    sys.exit(code)


def _run() -> int:
    """Run the command, print what ended it, and return the exit code."""
    import os
    from contextlib import suppress
    from pathlib import Path

    from regard.errors import RegardError
    from regard.system.allocator import keep_freed_memory
    from regard.system.home import keep_matplotlib_in_cache, reject_planted_libraries
    from regard.system.last_resort import BAD_INPUT, FAILED, INTERRUPTED, flush_output, last_word
    from regard.system.terminal import never_fail_to_encode, print_error, printable
    from regard.system.translation import choose_language, printable_language, translate, translate_lines, use_language

    keep_freed_memory()  # before anything large is loaded
    keep_matplotlib_in_cache()
    never_fail_to_encode()
    try:
        with suppress(OSError):  # the folder is gone, or may not be read
            reject_planted_libraries(Path.cwd())
        language = printable_language(choose_language(os.environ))
        use_language(language)  # before typer is imported, which has texts of its own
        _run_command()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else FAILED if stop.code else 0
        if code == INTERRUPTED:
            end_at_interrupt(code)
            print_error(translate("stopped"))
    except RegardError as error:
        code = BAD_INPUT
        end_at_interrupt(code)
        print_error(_error(printable(error.to_text(translate_lines))))
    except BaseException as error:
        word = last_word(error)
        if word is None:  # a fault of the program
            raise
        code = word.code
        end_at_interrupt(code)
        if word.text:
            text = translate(word.text)
            print_error(text if word.code == INTERRUPTED else _error(text))
    if (unwritten := flush_output()) and code == 0:
        print_error(_error(f"standard output: {unwritten}"))
        code = FAILED
    end_at_interrupt(code)
    return code


def _run_command() -> None:
    """Run the command that the arguments name; the processes that it starts import nothing from the working folder."""
    import os

    from regard.cli import app
    from regard.cli.messages import show_messages
    from regard.system.translation import warn_of_unused_language

    show_messages()
    warn_of_unused_language(os.environ)
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        app()
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


def _error(text: str) -> str:
    from regard.system.translation import translate

    return translate("error: {0}").replace("{0}", text)


if __name__ == "__main__":
    main()
