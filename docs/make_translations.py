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
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from template_texts import PARTS, defaults, kept_values, named_texts, parsed, templates, with_kept

from regard import __version__
from regard.ablate.plan import Plan  # noqa: F401  (its settings)
from regard.api.catalogue import catalogue
from regard.cli import app
from regard.cli.from_settings import help_of
from regard.config import AugmentSettings, LossSettings, OptimSettings, Recipe
from regard.config.base import Settings, fields_of
from regard.config.recipe import AnchorFreeLossSettings
from regard.diagnosis.causes import CAUSES
from regard.diagnosis.findings import title
from regard.graph.tasks import TASKS
from regard.nn.attention import ATTENTION
from regard.system.translation import PLACEHOLDER

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "regard"
CATALOGUES = sorted(SOURCE.glob("locale/*/LC_MESSAGES/regard.po"))
CALLS = {"_", "gettext", "words", "translate"}
MESSAGES = {
    "RegardError": 0,
    "_AnotherModel": 0,
    "_NotPlainError": 0,
    "RegardWarning": 0,
    "warn": 0,
    "LastWord": 0,
    "_say": 0,
    "error_at": 1,
}
"""Calls that have a message, and the place of it among their arguments."""
LOGS = {"info", "warning", "error"}
PROBLEMS = {"Problem", "_dropped", "_Fault"}
FACTS = {"done", "found", "how", "kind", "note"}
"""Names of the parts of a problem of a data set."""
RECIPE = (AugmentSettings, LossSettings, AnchorFreeLossSettings, OptimSettings, Recipe)
"""Settings that have no options: docs/settings.zh-TW.md shows their descriptions."""
SYSTEM = (
    "No such file or directory",
    "Permission denied",
    "Is a directory",
    "Not a directory",
    "File exists",
    "File name too long",
    "Read-only file system",
    "No space left on device",
    "Connection refused",
    "File is not a zip file",
    "Error while deserializing header: {0}",
    "{0} is not valid UTF-8",
)
"""Messages of the operating system and of Python that are part of ours."""
PARSERS = (
    *(f"did not find expected {what}" for what in ("key", "'-' indicator", "',' or ']'", "',' or '}'", "node content")),
    *(f"did not find expected {what}" for what in ("comment or line break", "whitespace or line break")),
    *("could not find expected ':'", "control characters are not allowed"),
    *(f"{what} are not allowed in this context" for what in ("mapping values", "mapping keys")),
    *(f"{what} are not allowed here" for what in ("mapping values", "mapping keys", "sequence entries")),
    "block sequence entries are not allowed in this context",
    *("found character that cannot start any token", "found character {0} that cannot start any token"),
    *("found unexpected end of stream", "found unexpected document indicator", "found unknown escape character"),
    *("found a tab character that violates indentation", "found undefined alias", "found unhashable key"),
    *("found a tab character where an indentation space is expected", "expected <block end>, but found {0}"),
    *("expected ',' or ']', but got {0}", "expected ',' or '}', but got {0}", "but found another document"),
    *("Expecting value", "Expecting ',' delimiter", "Expecting ':' delimiter", "Extra data"),
    *("Expecting property name enclosed in double quotes", "Invalid \\escape"),
    *(f"Illegal trailing comma before end of {what}" for what in ("array", "object")),
    *("Unterminated string starting at", "Invalid control character at"),
)
"""Messages of the parsers of YAML (libyaml and PyYAML) and JSON that follow from common mistakes."""
REPORTS = (
    "ablate/format.py",
    "ablate/power_analysis.py",
    "ablate/power_text.py",
    "ablate/schema.py",
    "ablate/verdict.py",
    "data/check.py",
    "demo.py",
    "graph/lint.py",
    "weights/paths.py",
    "data/problems.py",
    "diagnosis/**/*.py",
    "evaluation/metrics.py",
    "graph/summary.py",
    "profiling/report.py",
    "profiling/advice.py",
    "runtimes/export.py",
    "weights/convert.py",
    "weights/difference.py",
    "weights/layer_changes.py",
    "weights/transfer.py",
)
"""Files whose texts are shown by `regard.cli.screen`, which translates them there."""
VALUES = ("config/faults.py", "graph/read.py", "weights/archive.py", "weights/checkpoint.py")
"""Files whose texts are what messages expect."""
HEADINGS = (
    *("row", "name", "from", "params", "module", "arguments", "output", "share", "mixing", "peak MiB", "spread"),
    *("class", "labels", "precision", "recall", "input", "pixels", "probability", "relative", "detections"),
    *("costs", "before", "after", "difference", "variant", "role", "epochs", "time per run", "mean", "helps", "hurts"),
    "not checked:",
    *(task for _, task in TASKS),
    *("added", "removed", "changed", "likely", "possible", "note", "passed", "FAILED", "{0} the same"),
    *("{0} helps{1}: {2} ({3}).", "{0} hurts{1}: {2} ({3}).", "seed {0}", "{0} added", "{0} removed", "{0} changed"),
    *(
        "parameters",
        "local",
        "activations",
        "{0} (some under another index)",
        "{0} is {1}",
        "{0} is empty",
        "{0} new",
        "{0} running",
        "{0} failed",
    ),
    "{0} ms per image at {1} px on {2}",
    *("linear", "exports", "yes", "no", "family", "{0} x {1}, such as {2}: {3}"),
    "train for more epochs, use smaller batches, or set a shorter warm-up (warmup_epochs)",
    ": ",
    "{0}, {1}",
    "{0}; expected: {1}",
    "nothing",
    "undo",
    "redo",
    "{0} MB",
    "backend",
    "miswired",
    "invalid",
    "unreadable",
    "family",
    "position",
    "level",
    "by FLOPs",
    "by time",
    "by time, measured alone",
    "{0}  ({1}, {2} channels)",
    "{0}  ({1}, {2} x {3} positions)",
    "{0}  ({1}, {2} x {3} positions), query at {4}, {5}",
    "{0}  ({1}, {2} x {3} positions): gradient map of {4} with score {5}",
    "{0}: {1} not kept: {2} in the source, {3} here",
    "{0}: {1} not kept: {2} in the source, {3} here, and 1 other reason",
    "{0}: {1} not kept: {2} in the source, {3} here, and {4} other reasons",
    "boxes kept",
    "boxes kept, also {0}",
    "{0} in part: {1}",
    "the classes {0}, and {1} more are newly initialised",
    "boxes kept, also {0}, and {1} more",
    "boxes and objectness kept",
    "boxes and objectness kept, also {0}, and {1} more",
    "boxes and objectness kept, also {0}",
    "best possible recall {0}",
    "best possible recall {0}, refitted",
    "skipped",
    "anchors: {0}",
    "data: {0}",
    "{0}, {1} or {2}",
    "preprocess {0}, network {1}, NMS {2}",
    "noise control",
    "{0} parameters for {1} ({2})",
    "layer {0}",
    "class cx cy w h: a whole number and four fractions of the image",
    "centre ({0}, {1}), size ({2}, {3}) of the image",
    "layer {0} ({1}) reads by an index that was not updated after an edit: {2}",
    "layer {0} ({1}): {2}",
    "corrected row: {0}",
    "{0}, {1} classes",
    "{0} if the second number is its {1}",
    "{0} if both numbers are channels",
    "{0} for the weighted maps, concatenated",
    "{0} for their weighted sum",
    "(--allow-miswired, in Python allow_miswired=True, builds the graph anyway)",
    "{0} Or, if it is your own, give its file: --module FILE.py:{1}",
)
"""Words in the headings of tables, and in templates that are filled in two steps."""
WORD = re.compile("[A-Za-z]{3,}")
TOO_SHORT = {"a {0}", "are {0}", "{0} in {1}", "{0} of {1}", "kernel_size {0}", "reduction {0}"}
"""Templates that names of files, classes and options fit by chance."""
SETTINGS = ("regard.config", "regard.ablate")
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
    "Input should be less than or equal to {0}",
    "Input should be greater than or equal to {0}",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be a valid number, unable to parse string as a number",
)
"""Texts of typer that the help shows."""


def texts_of_help() -> set[str]:
    """Collect the help of all commands and options, and the names of the groups in which it lists them.

    The help of an option made from a setting is made of parts, of which the description is one.
    """
    made = {help_of(field): field.description or "" for kind in _kinds(Settings) for field in fields_of(kind).values()}
    shown = {made.get(text, text) for text in _help_of(typer.main.get_command(app))}
    return shown | {field.description for kind in RECIPE for field in fields_of(kind).values() if field.description}


def _help_of(command: Any) -> Iterator[str]:
    for shown in (command, *command.params):
        yield from (text for name in ("help", "rich_help_panel") if isinstance(text := getattr(shown, name, 0), str))
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from _help_of(command.get_command(None, name))


def _kinds(kind: type[Settings]) -> Iterator[type[Settings]]:
    for one in kind.__subclasses__():
        if one.__module__.startswith(SETTINGS):  # others, once imported, are no settings of the command line
            yield from (one, *_kinds(one))


def _errors() -> set[str]:
    """Names of the errors of the package, which begin with their message as `RegardError` does."""
    classes = (
        node for file in SOURCE.rglob("*.py") for node in ast.walk(parsed(file)) if isinstance(node, ast.ClassDef)
    )
    return {node.name for node in classes if any(getattr(base, "id", "") == "RegardError" for base in node.bases)}


def texts_of_code() -> tuple[set[str], set[str]]:
    """Collect the arguments of calls of gettext, and templates: of messages, and of all sentences of reports."""
    fixed: set[str] = set()
    messages: set[str] = set()
    calls = {**MESSAGES, **dict.fromkeys(_errors(), 0)}
    for file in SOURCE.rglob("*.py"):
        is_data, is_config = (part in file.relative_to(SOURCE).parts[:1] for part in ("data", "config"))
        known = named_texts(file, SOURCE)
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                place = calls.get(name, 0)
                parts = [*node.args[place : place + 1], *(word.value for word in node.keywords if word.arg in PARTS)]
                found = {text for part in parts for text in templates(part, known)}
                if name in CALLS:
                    fixed |= found
                elif name in calls or (is_config and name == "ValueError"):
                    messages |= found
                elif is_data and name in PROBLEMS:
                    messages |= {text for part in node.args for text in templates(part, known)}
                elif name in LOGS and getattr(node.func.value, "id", "").lower() in ("log", "logger"):
                    messages |= {_of_log(text) for text in found}
                else:
                    keywords = [word.value for word in node.keywords if word.arg in PARTS]
                    messages |= {text for part in keywords for text in templates(part, known) if " " in text}
            elif isinstance(node, ast.Assign | ast.AugAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if getattr(target, "id", "").lower() in {*PARTS, *(FACTS if is_data else ())}:
                    messages |= set(templates(node.value, known))
            elif isinstance(node, ast.FunctionDef):
                messages |= {text for part in defaults(node) for text in templates(part, known) if " " in text}
    for pattern in REPORTS:
        files = sorted(SOURCE.glob(pattern))
        assert files, f"{pattern} is gone"
        fixed |= {text for file in files for text in _sentences(parsed(file))}
    messages |= {text for file in VALUES for text in _constants(parsed(SOURCE / file))}
    return fixed, {text for text in messages - fixed if _is_text(text)}


def _is_text(text: str) -> bool:
    """Whether a text has letters, and is no template that names of files and classes fit by chance."""
    return text not in TOO_SHORT and any(map(str.isalpha, PLACEHOLDER.sub("", text)))


def texts_of_catalogue() -> set[str]:
    """Collect what docs/catalogue.zh-TW.md shows of each module's card, and what the studio says of its options."""
    cards = [kind.card for kind in ATTENTION.values()]
    phrases = {phrase for card in cards for phrase in (*card.peers, card.obstacle) if " " in phrase}
    helps = {option.help for entry in catalogue() for option in entry.options if option.help}
    return phrases | helps | {card.when for card in cards}


def _sentences(tree: ast.Module) -> set[str]:
    """Collect the texts of a file that have two words or more, but for docstrings."""
    return {text for text in _constants(tree) if len(WORD.findall(text)) >= (1 if "{0}" in text else 2)}


def _constants(tree: ast.Module) -> set[str]:
    """Collect the texts of a file that have a space, but for docstrings."""
    found: set[str] = set()
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in ast.walk(node)} - {id(node)}
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in inner:
            texts = {text.strip().removeprefix(", ").removeprefix("; ") for text in templates(node)}
            found |= {text for text in texts if " " in text}
    return found


def _of_log(text: str) -> str:
    """Turn the places of values in a message of a logger into those of a template."""
    count = itertools.count()
    return re.sub("%[sd]", lambda _: f"{{{next(count)}}}", text)


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
    kept = kept_values(SOURCE)
    about = (
        ("help", texts_of_help() | set(TYPER)),
        ("text", fixed | {*HEADINGS, *SYSTEM, *PARSERS} | set(map(title, CAUSES))),
        ("message", messages | texts_of_catalogue()),
    )
    for kind, texts in about:
        for text in sorted(texts, key=lambda text: (text.lower(), text)):
            if text not in new:
                was = old.get(text)
                string = with_kept(was.string, kept.get(text, ())) if was else ""
                new.add(text, string, auto_comments=[kind])
    return new


def main() -> None:
    """Update and compile all catalogues, and print what has no translation."""
    for path in CATALOGUES:
        with path.open("rb") as file:
            catalogue = updated(read_po(file))
        with path.open("wb") as file:
            write_po(file, catalogue, width=118)
        path.with_suffix(".mo").write_bytes(compiled(catalogue))
        missing = [message.id for message in catalogue if message.id and not message.string]
        print(f"{path.relative_to(ROOT)}: {len(catalogue)} texts; without translation: {len(missing)}")
        print("".join(f"  {text}\n" for text in missing), end="")


def compiled(catalogue: Catalog) -> bytes:
    """Compile a catalogue to the form that gettext reads."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


if __name__ == "__main__":
    main()
