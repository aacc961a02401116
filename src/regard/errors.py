"""The exception for all errors that a user can cause, warnings, and the search for the nearest valid choice."""

from __future__ import annotations

import difflib
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

MOST_TEXT = 20_000
"""Characters of a message; names in files may be of any length."""
BETWEEN = frozenset({"regard", "contextlib", "functools", "pydantic", "torch"})
"""Packages whose functions may stand between the user's code and a warning."""


COUNTED = re.compile(
    r"(?<![\w.,:/'\"\-])1 ((?:other |finished |detection |new )?)"
    r"(boxe|channel|classe|cause|detection|epoch|error|file|graph|image|layer|level|object|pair|parameter|problem|"
    r"processe|reason|row|run|seed|step|tensor|thread|time|value)s(?![\w./\-])"
    r"(?: (are|have|were|lose|look)\b)?"
)
"""One of something in the plural, with the verb that follows; a path or a quoted name is none."""
IRREGULAR = {"boxe": "box", "classe": "class", "processe": "process"}
VERBS = {"are": "is", "have": "has", "were": "was", "lose": "loses", "look": "looks"}


class RegardError(Exception):
    """A mistake that the user can correct; the command line prints it without a traceback and exits 2.

    The message is built from its parts so that all errors have the same form::

        street.yaml:14: unknown module 'Cnov'
          expected: one of C3, Conv, SPPF
          did you mean 'Conv'?

    Args:
        what: the error, in one sentence without a full stop.
        file: the file it was found in.
        line: 1-based line in that file.
        expected: valid values.
        hint: the nearest valid choice, or what to do.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.file, self.line, self.expected, self.hint = what, file, line, expected, hint
        super().__init__(self.to_text())

    def at(self, file: str | Path | None, line: int | None = None) -> RegardError:
        """Copy the error with another place in which it was found."""
        return RegardError(self.what, file=file, line=line, expected=self.expected, hint=self.hint)

    def to_text(self, words: Callable[[str], str] = str) -> str:
        """Write the message, its fixed parts as ``words`` translates them."""
        # A line of its own could say anything.
        file = None if self.file is None else str(self.file).replace("\n", "\\n")
        place = f"{file}:{self.line}" if file and self.line else file
        lines = [(f"{place}{words(': ')}" if place else "") + words(self.what)]
        if self.expected:
            lines.append("  " + words("expected: {0}").replace("{0}", words(self.expected)))
        if self.hint:
            lines.append(f"  {words(self.hint)}")
        text = with_singulars("\n".join(lines))
        return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT // 2]} ... {text[-MOST_TEXT // 4 :]}"


class RegardWarning(UserWarning):
    """A suspicious fact that does not stop the work, or that the user asked to accept."""


class RegardDeprecationWarning(DeprecationWarning):
    """A former name that is still understood; Python shows it for the code in ``__main__`` and in tests only."""


def warn(message: str, category: type[Warning] = RegardWarning) -> None:
    """Issue a warning that points to the line of the user's code which led to it.

    A fixed ``stacklevel`` can't do that: functions are called by others of the package, and through the libraries of
    ``BETWEEN``.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in BETWEEN:
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def with_singulars(text: str) -> str:
    """Write English texts in which a count is 1, which are made for any number, in the singular.

    Example:
        >>> with_singulars("train: 1 images, 21 boxes"), with_singulars("1 problems lose images, see 1 images/")
        ('train: 1 image, 21 boxes', '1 problem loses images, see 1 images/')
    """

    def one(found: re.Match[str]) -> str:
        noun = IRREGULAR.get(found[2], found[2])
        return f"1 {found[1]}{noun}" + (f" {VERBS[found[3]]}" if found[3] else "")

    return COUNTED.sub(one, text)


def first_line(error: BaseException) -> str:
    """First line of the message of any exception; the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def first_names(names: Sequence[object], most: int) -> str:
    """List names for a message, of more than ``most`` only the first.

    Example:
        >>> first_names("abc", 3), first_names("abcd", 3)
        ('a, b, c', 'a, b, c, ...')
    """
    return ", ".join(map(str, names[:most])) + ", ..." * (len(names) > most)


def one_of(choices: Iterable[object]) -> str:
    """Write valid values for a message.

    Example:
        >>> one_of(["train", "val"]), one_of(["train"]), one_of([])
        ('one of train, val', 'train', 'none')
    """
    names = [*map(str, choices)]
    return f"one of {', '.join(names)}" if len(names) > 1 else "".join(names) or "none"


def nearest(name: object, choices: Iterable[object], cutoff: float = 0.5, most: int = 1) -> str | None:
    """Suggest the choices closest to ``name``, at most ``most``; None if nothing is as close as ``cutoff``, in 0..1.

    Example:
        >>> nearest("Cnov", ["C3", "Conv", "SPPF"])
        "did you mean 'Conv'?"
        >>> nearest("cat", ["cap", "dog", "can", "car"], most=3)
        "did you mean 'car', 'cap' or 'can'?"
    """
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=most, cutoff=cutoff)
    *others, last = [repr(by_lower[name]) for name in close] or [""]
    named = f"{', '.join(others)} or {last}" if others else last
    return f"did you mean {named}?" if named else None
