"""Bring the translations of the command line up to date: `python docs/make_translations.py`.

It collects the texts of the commands' help, texts in calls of `gettext` (as `_`, `words` and `translate`), and messages
of errors and warnings, whose values become placeholders {0}, {1}, ...; adds new ones to the catalogue
src/regard/locale/*/LC_MESSAGES/regard.po with an empty translation, removes old ones, and compiles the catalogue to the
.mo file next to it. Needs Babel, which regard[docs] includes. A test checks that both are current.
"""

from __future__ import annotations

import ast
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from regard import __version__
from regard.ablate.plan import Plan  # noqa: F401  (its settings)
from regard.cli import app
from regard.cli.from_settings import help_of
from regard.config.base import Settings, fields_of
from regard.system.translation import PLACEHOLDER

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "regard"
CATALOGUES = sorted(SOURCE.glob("locale/*/LC_MESSAGES/regard.po"))
CALLS = {"_", "gettext", "words", "translate"}
MESSAGES = {"RegardError", "RegardWarning", "warn"}
PARTS = {"expected", "hint"}
TYPER = (
    "Arguments",
    "Options",
    "Commands",
    "Error",
    "Aborted.",
    "[default: {}]",
    "[required]",
    "default: {default}",
    "required",
    "Missing command.",
    "Try [blue]'{command_path} {help_option}'[/] for help.",
    "Usage:",
    "Show this message and exit.",
    "No such command {0}.",
    "No such command {0}. Did you mean {1}?",
    "No such option: {0}",
    "No such option: {0} Did you mean {1}?",
    "No such option: {0} (Possible options: {1})",
    "Missing argument {0}.",
    "Missing argument {0}. Choose from: {1}",
    "Missing option {0}.",
    "Missing option {0}. Choose from: {1}",
    "Invalid value for {0}: {1}",
    "{0} is not a valid {1}.",
    "{0} is not one of {1}.",
    "{0} is not in the range {1}.",
    "Option {0} requires an argument.",
    "Option {0} does not take a value.",
    "Got unexpected extra argument(s) ({0})",
    "Value error, {0}",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be a valid number, unable to parse string as a number",
)
"""Texts of typer that the help shows."""


def texts_of_help() -> set[str]:
    """Collect the help of all commands and options, and the names of the groups in which it lists them.

    The help of an option made from a setting is made of parts, of which the description is one.
    """
    made = {help_of(field): field.description or "" for kind in _kinds(Settings) for field in fields_of(kind).values()}
    return {made.get(text, text) for text in _help_of(typer.main.get_command(app))}


def _help_of(command: Any) -> Iterator[str]:
    for shown in (command, *command.params):
        yield from (text for name in ("help", "rich_help_panel") if isinstance(text := getattr(shown, name, 0), str))
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from _help_of(command.get_command(None, name))


def _kinds(kind: type[Settings]) -> Iterator[type[Settings]]:
    for one in kind.__subclasses__():
        yield from (one, *_kinds(one))


def texts_of_code() -> tuple[set[str], set[str]]:
    """Collect the arguments of calls of gettext, and the templates of messages."""
    fixed: set[str] = set()
    messages: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                parts = [*node.args[:1], *(word.value for word in node.keywords if word.arg in PARTS)]
                found = {text for part in parts for text in _templates(part)}
                if name in CALLS:
                    fixed |= {text for text in found if isinstance(node.args[0], ast.Constant)}
                elif name in MESSAGES:
                    messages |= found
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in {"what", *PARTS}:
                messages |= set(_templates(node.value))
    return fixed, {text for text in messages - fixed if any(map(str.isalpha, PLACEHOLDER.sub("", text)))}


def _templates(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression can be, with {0}, {1}, ... for values."""
    if isinstance(node, ast.IfExp):
        yield from (*_templates(node.body), *_templates(node.orelse))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        count = itertools.count()
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{next(count)}}}" for part in node.values
        )


def updated(old: Catalog) -> Catalog:
    """Make a catalogue of today's texts with the translations of ``old``."""
    new = Catalog(
        locale=old.locale,
        project="regard",
        version=__version__,
        msgid_bugs_address="",
        header_comment="# Translations of the command line; docs/make_translations.py collects the texts.",
        creation_date=old.creation_date,
        revision_date=old.revision_date,
        last_translator="",
        language_team="",
        fuzzy=False,
    )
    fixed, messages = texts_of_code()
    about = (("help", texts_of_help() | set(TYPER)), ("text", fixed), ("message", messages))
    for kind, texts in about:
        for text in sorted(texts, key=str.lower):
            if text not in new:
                was = old.get(text)
                new.add(text, was.string if was else "", auto_comments=[kind])
    return new


def main() -> None:
    """Update and compile all catalogues, and print what has no translation."""
    for path in CATALOGUES:
        with path.open("rb") as file:
            catalogue = updated(read_po(file))
        with path.open("wb") as file:
            write_po(file, catalogue, width=118)
        path.with_suffix(".mo").write_bytes(compiled(catalogue))
        missing = Counter(message.auto_comments[0] for message in catalogue if message.id and not message.string)
        print(f"{path.relative_to(ROOT)}: {len(catalogue)} texts; without translation: {dict(missing)}")


def compiled(catalogue: Catalog) -> bytes:
    """Compile a catalogue to the form that gettext reads."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


if __name__ == "__main__":
    main()
