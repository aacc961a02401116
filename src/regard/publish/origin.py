"""Where the weights of a published model come from: what the publisher states, and what its files record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.diagnosis.packages import read_run
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.publish.licences import PERMISSION, names_licence, permits, published_licence
from regard.weights.hub import ADDRESS, PREFIX, is_hub
from regard.weights.paths import SUFFIXES


@dataclass(frozen=True)
class Statement:
    """What the publisher of a model states.

    Attributes:
        license: of the model, an identifier of the Hub.
        start: weights that it started from; None if not stated.
        start_license: their licence.
        permission: whether their owner permits that of the model.
        from_scratch: whether there were none.
    """

    license: str
    start: str | None = None
    start_license: str | None = None
    permission: bool = False
    from_scratch: bool = False


@dataclass(frozen=True)
class Start:
    """Start weights that are known.

    Attributes:
        name: what the publisher must call them, as a file or an address of the Hub.
        word: the part of it that is enough.
        licence: under which they were published; None if unknown.
    """

    name: str
    word: str
    licence: str | None = None


@dataclass(frozen=True)
class Record:
    """What the files of a model and of its run record of where its weights come from.

    Attributes:
        starts: start weights, except the model's own repository.
        begun: the weights from which the run started, or which a model without one was loaded from on the Hub; None
            without any.
        is_complete: whether the file of the model says what its weights come from, or that they are its own.
        folder: of the run; None without one.
    """

    starts: Sequence[Start]
    begun: str | None
    is_complete: bool
    folder: Path | None


def check_origin(stated: Statement, record: Record) -> None:
    """Compare what the publisher states with what is recorded.

    Raises:
        RegardError: start weights are recorded that are not stated, or that are stated under another licence than that
            under which they were published, without a permission.
    """
    starts, begun = record.starts, record.begun
    if any(not _names(stated.start or "", start.word) for start in starts):
        what = "the model has start weights that are not stated"
        what = f"the model is stated to start from {stated.start}" if stated.start else what
        names, licences = (
            ", ".join(dict.fromkeys(found for found in values if found))
            for values in ((start.name for start in starts), (start.licence for start in starts))
        )
        licence = f"start_license={licences!r}" if licences else "start_license"
        hint = "in the shell --start and --start-license"
        raise RegardError(what, expected=f"start={names!r}, and {licence}", hint=hint)
    if begun and not record.is_complete and stated.from_scratch:
        what = f"its training started from {_file(begun)}, whose weights may come from others"
        raise RegardError(what, file=record.folder, expected="start and start_license, or neither")
    if not stated.permission:
        for start, licence in _with_licence(starts, stated):
            _check_licence(stated, start, licence)


def _check_licence(stated: Statement, start: Start, licence: str) -> None:
    if not names_licence(stated.start_license or "", licence):
        what = f"{start.name} is stated under {stated.start_license}, but was published under {licence}"
        raise RegardError(what, expected=f"start_license={licence!r}", hint=PERMISSION)
    if not permits(stated.license, licence):
        what = f"a model that started from {start.name} under {licence} cannot be published under {stated.license}"
        raise RegardError(what, expected=f"license: {licence}", hint=PERMISSION)


def recorded(detector: Detector, folder: Path | None, repository: str) -> Record:
    """Read what the file of a model, and that of its run, record.

    Args:
        detector: the model.
        folder: of its run; None without one.
        repository: where it is published, such as "me/cells".
    """
    starts, begun = [], _begun(detector, folder)
    if detector.origin:
        starts.append(Start(detector.origin, Path(detector.origin).stem, published_licence(detector.origin)))
    if detector.published:
        address, licence = detector.published
        starts.append(Start(address, address.removeprefix(PREFIX), licence))
    if begun and is_hub(begun):
        named = ADDRESS.fullmatch(begun)
        address = f"{PREFIX}{named[1]}" if named else begun
        if address.casefold() not in (start.name.casefold() for start in starts):
            starts.append(Start(address, address.removeprefix(PREFIX)))
    own = f"{PREFIX}{repository}".casefold()
    others = [start for start in starts if start.name.casefold() != own]
    return Record(others, begun, detector.origin is not None, folder)


def describe_start(stated: Statement, record: Record) -> str:
    """What the card says of the start weights; "" if nothing is stated."""
    if stated.from_scratch:
        found = "does not say whether there were start weights"
        if record.is_complete:
            found = "records no start weights"
            if record.begun and not is_hub(record.begun):
                found += f", and neither does {_file(record.begun)}, from which its training started"
        return f"The publisher states that it was trained from scratch; the file of its weights {found}."
    if not stated.start:
        return ""
    others = dict(_with_licence(record.starts, stated))
    others = {start: one for start, one in others.items() if not names_licence(stated.start_license or "", one)}
    notes = [f" {start.name} was published under {licence}." for start, licence in others.items()]
    needed = [stated.start_license or "", *others.values()]
    if stated.permission and any(one and not permits(stated.license, one) for one in needed):
        notes.append(" The publisher states that their owner permits the licence of this model.")
    return f"Start weights: {stated.start}, licence {stated.start_license}.{''.join(notes)}"


def _with_licence(starts: Sequence[Start], stated: Statement) -> Iterator[tuple[Start, str]]:
    """Start weights whose licence is known, also such that only the publisher names."""
    words = [word.strip(".") for word in re.findall(r"[\w.-]+", stated.start or "")]
    named = [Start(word, Path(word).stem, published_licence(word)) for word in words]
    seen = set()
    for start in (*starts, *named):
        if start.licence and start.licence not in ("other", "unknown") and start.word.casefold() not in seen:
            seen.add(start.word.casefold())
            yield start, start.licence


def _begun(detector: Detector, folder: Path | None) -> str | None:
    """The weights from which the run in a folder started, or which a model without one was loaded from on the Hub."""
    if folder is None:
        begun = detector.started_from if detector.started_from and is_hub(detector.started_from) else None
    else:
        begun = read_run(folder).start
    return begun if begun and (is_hub(begun) or Path(begun).suffix.lower() in SUFFIXES) else None


def _file(path: str) -> str:
    """Name of a file without the folders of its machine, of any system."""
    return re.split(r"[/\\]", path)[-1]


def _names(text: str, word: str) -> bool:
    """Whether a text names weights: with any suffix, but not within a longer name."""
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text, re.IGNORECASE) is not None
