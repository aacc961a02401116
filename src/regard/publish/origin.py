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


def check_origin(stated: Statement, detector: Detector, folder: Path | None, repository: str) -> None:
    """Compare what the publisher states with what the files of the model and of its run record.

    Raises:
        RegardError: start weights are recorded that are not stated, or that are stated under another licence than that
            under which they were published, without a permission.
    """
    starts = recorded_starts(detector, folder, repository)
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
    begun = _begun(detector, folder)
    if begun and detector.origin is None and stated.from_scratch:
        what = f"its training started from {_file(begun)}, whose weights may come from others"
        raise RegardError(what, file=folder, expected="start and start_license, or neither")
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


def recorded_starts(detector: Detector, folder: Path | None, repository: str) -> list[Start]:
    """Start weights that the file of a model or its run records, except the model's own repository."""
    found = []
    if detector.origin:
        found.append(Start(detector.origin, Path(detector.origin).stem, published_licence(detector.origin)))
    published = [detector.published] if detector.published else []
    known = {address.casefold(): licence for address, licence in published}
    names = {address.casefold(): address for address, _ in published}
    begun = _begun(detector, folder)
    if begun and is_hub(begun):
        named = ADDRESS.fullmatch(begun)
        address = f"{PREFIX}{named[1]}" if named else begun
        names.setdefault(address.casefold(), address)
    own = f"{PREFIX}{repository}".casefold()
    for key, address in names.items():
        if key != own:
            found.append(Start(address, address.removeprefix(PREFIX), known.get(key)))
    return found


def describe_start(stated: Statement, detector: Detector, folder: Path | None, repository: str) -> str:
    """What the card says of the start weights; "" if nothing is stated."""
    if stated.from_scratch:
        if detector.origin is None:
            recorded = "does not say whether there were start weights"
        else:
            recorded = "records no start weights"
            begun = _begun(detector, folder)
            if begun and not is_hub(begun):
                recorded += f", and neither does {_file(begun)}, from which its training started"
        return f"The publisher states that it was trained from scratch; the file of its weights {recorded}."
    if not stated.start:
        return ""
    others = dict(_with_licence(recorded_starts(detector, folder, repository), stated))
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
