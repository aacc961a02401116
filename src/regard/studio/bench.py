"""The detector on the workbench: the base, the edits that were made to it, and the images that it is shown."""

from __future__ import annotations

import secrets
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regard.api.edits import Edit, EditEffect, difference
from regard.config import IMGSZ
from regard.errors import RegardError, RegardWarning
from regard.graph.build import build, measured
from regard.graph.correct import Correction, corrections
from regard.graph.detector import Detector
from regard.graph.diagram import Diagram, diagram, outline
from regard.graph.read import GRAPHS, zoo
from regard.graph.spec import ModelSpec
from regard.prediction.detect import Candidates
from regard.profiling.prediction import LatencyModel, calibrate
from regard.system.files import is_file
from regard.system.loaders import MOST_YAML, read_text
from regard.weights.detector import load_detector, with_weights
from regard.weights.hub import has_weights, is_hub
from regard.weights.paths import weights_of
from regard.weights.transfer import TransferReport

MOST_IMAGES, MOST_BYTES = 8, 512 * 2**20
"""Number of images that are kept, and size of their pixels; the last one is kept in any case."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Stamp:
    """A file as it was, by which later changes are seen."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """Note how a file is; None if there is none."""
        with suppress(OSError):
            found = path.stat()
            return cls(path, found.st_size, found.st_mtime_ns)
        return None


class StaleError(RegardError):
    """A page asks about a model that another page has changed since."""


@dataclass(frozen=True)
class State:
    """A detector after some edits.

    Attributes:
        detector: None where the graph cannot be built.
        spec: its graph.
        edits: the edits that led to it.
        findings: wiring errors of the file.
        text: of the file, where it was opened as text.
        root: position of the state before the edits.
        given: file of the weights that a graph was given, relative to the workspace; "" if none.
        transfer: what was loaded from it.
    """

    detector: Detector | None
    spec: ModelSpec
    edits: tuple[Edit, ...] = ()
    findings: tuple[Correction, ...] = ()
    text: str = ""
    root: int = 0
    given: str = ""
    transfer: TransferReport | None = None

    @cached_property
    def diagram(self) -> Diagram:
        """Nodes, wires and costs."""
        return outline(self.spec) if self.detector is None else diagram(self.detector, _size(self.detector))

    @property
    def built(self) -> Detector:
        """The detector.

        Raises:
            RegardError: the graph cannot be built.
        """
        if self.detector is None:
            raise RegardError("the graph has wiring errors", hint="apply the corrected rows first")
        return self.detector


def _size(detector: Detector) -> int:
    return max(IMGSZ // detector.max_stride, 1) * detector.max_stride


def _sharing(detector: Detector) -> Detector:
    """A copy with the tensors of the original, for which nothing is copied but its structure."""
    tensors = (*detector.parameters(), *detector.buffers())
    return deepcopy(detector, {id(tensor): tensor for tensor in tensors})


@dataclass
class Shown:
    """An image with what was computed on it, by state."""

    pixels: Image
    name: str
    candidates: dict[int, Candidates] = field(default_factory=dict)


class Bench:
    """The detector that is edited. All methods but ``predicted`` must run inside ``working`` or ``changing``.

    Args:
        modules: the user's own classes, named at the start.
        references: the same as they were named there, ``file.py:Class``.

    Attributes:
        version: number of what is shown, by which a page sees that another one has changed it.
        changes: number of requests that have come to change what is shown.
    """

    def __init__(self, modules: Mapping[str, type[nn.Module]] | None = None, references: Sequence[str] = ()) -> None:
        self.modules, self._references = dict(modules or {}), references
        self.source, self._came_trained = "", False
        self.version = 0
        self._saved: set[int] = set()
        self._file: Stamp | None = None
        self.states: list[State] = []
        self.position = 0
        self.images: OrderedDict[str, Shown] = OrderedDict()
        self._latency: LatencyModel | None = None
        self._latency_of: State | None = None
        self._lock = Lock()
        self.changes = 0

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep other requests waiting, and interrupt what is measured in the background."""
        self.changes += 1
        with self._lock:
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep other requests waiting."""
        with self._lock:
            yield

    @property
    def state(self) -> State:
        """The state that is shown.

        Raises:
            RegardError: no model is open.
        """
        if not self.states:
            raise RegardError("no model is open", expected="a model of the zoo or a file of the workspace")
        return self.states[self.position]

    @property
    def base(self) -> State:
        """The state before all edits."""
        return self.states[self.state.root]

    def open_model(self, source: str | Path, name: str) -> None:
        """Open a file or a model of the zoo; a YAML with its wiring errors.

        Args:
            source: what `regard.load` takes.
            name: how commands name it.
        """
        path = Path(source)
        stamp = Stamp.of(weights_of(path) or path)
        try:
            detector = load_detector(source, modules=self.modules)
        except RegardError:
            if path.suffix.lower() not in GRAPHS or not is_file(path):
                raise
            state = self._read(read_text(path, MOST_YAML), path)
            if all(finding.note for finding in state.findings):
                raise
            self._start(state, name)  # its wiring errors are shown
            self._file = stamp
            return
        self.open_detector(detector, name)
        self._file = stamp
        self._came_trained = str(source) not in zoo() and has_weights(source)

    @property
    def trained(self) -> bool:
        """Whether the model came with weights, or was given some."""
        report = self.state.transfer
        return self._came_trained or (report is not None and report.found > 0)

    def open_detector(self, detector: Detector, name: str) -> None:
        """Open a detector, which edits leave as it is."""
        self._start(State(detector, detector.spec), name)
        self._came_trained = True

    @property
    def start(self) -> str:
        """What commands and scripts can start from: the open file or model of the zoo; "" if it is not the base."""
        if self.base.text != self.states[0].text:  # it was corrected
            return ""
        is_same = self._file is not None and Stamp.of(self._file.path) == self._file
        return self.source if is_same or self.source in zoo() or is_hub(self.source) else ""

    def open_text(self, text: str, name: str, folder: Path) -> None:
        """Open the text of a model file, with its wiring errors; its base is looked for in ``folder``."""
        self._start(self._read(text, folder / name), name)
        if is_file(folder / name) and read_text(folder / name, MOST_YAML) == text:
            self._file = Stamp.of(folder / name)

    def correct(self, text: str, folder: Path) -> None:
        """Put a corrected text in the place of the open one; that can be undone."""
        self._add(replace(self._read(text, folder / self.source), root=self.position + 1))

    def _read(self, text: str, file: Path) -> State:
        spec, found = corrections(text, file, self.modules)
        if any(finding.unreadable for finding in found):
            return State(None, spec, (), tuple(found), text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RegardWarning)  # the findings say the same
                detector = build(spec, modules=self.modules, allow_miswired=True)
        except RegardError:
            if not any(not finding.note for finding in found):
                raise
            return State(None, measured(spec, modules=self.modules), (), tuple(found), text)
        return State(detector, detector.spec, (), tuple(found), text)

    def view(self, detector: Detector) -> Detector:
        """A detector of the bench with the same tensors, which can be run outside ``working``.

        It raises a `RegardError` as soon as somebody has changed what is shown, so that nobody waits for its end.
        """
        asked, seen = self.changes, _sharing(detector)  # hooks of others must not meet those of a measurement

        def go_on(*_: object) -> None:
            if self.changes != asked:
                raise RegardError("the measurement was interrupted")

        for layer in seen.model:
            layer.register_forward_pre_hook(go_on)
        return seen

    def predicted(self) -> tuple[LatencyModel, float]:
        """Predict the latency of what is shown in ms, from the base, which is measured unless that was done before.

        Others may use the bench meanwhile.

        Raises:
            RegardError: somebody has changed what is shown while it was measured.
        """
        with self.working():
            base, state, asked = self.base, self.state, self.changes
            known = self._latency if self._latency_of is base else None
            detector = self.view(base.built)
        model = known or calibrate(detector, base.diagram)
        with self.working():
            if self.changes != asked:
                raise RegardError("the measurement was interrupted")
            self._latency, self._latency_of = model, base
        return model, model.milliseconds(state.built, state.diagram)

    def rebase_latency(self, base: State, seconds: float) -> None:
        """Predict from a new measurement of a base, if that is the one from which predictions are made."""
        if self._latency is not None and self._latency_of is base:
            self._latency = self._latency.rescaled(seconds)

    def _start(self, state: State, name: str) -> None:
        self.states, self.position, self.source, self._came_trained = [state], 0, name, False
        self.version += 1
        self._saved, self._latency, self._latency_of, self._file = {0}, None, None, None
        for shown in self.images.values():
            shown.candidates.clear()

    def apply(self, edit: Edit) -> None:
        """Edit the detector; what was undone is forgotten."""
        now = self.state
        # many copies of a large model would take gigabytes
        new = edit.apply(now.built, share=True, modules=self.modules)
        self._add(replace(now, detector=new, spec=new.spec, edits=(*now.edits, edit)))

    def give_weights(self, path: Path, name: str) -> TransferReport:
        """Load matching weights into the base, and make the edits again; that can be undone.

        Args:
            path: a file of weights.
            name: how commands name it.

        Raises:
            RegardError: the graph has wiring errors, or the file cannot be read.
        """
        base, edits = self.base, self.state.edits
        detector, report = with_weights(deepcopy(base.built), path, self.modules)  # the original can be gone back to
        start = replace(base, detector=detector, spec=detector.spec, root=self.position + 1)
        self._add(replace(start, given=name, transfer=report))
        for edit in edits:
            self.apply(edit)
        return report

    def _add(self, state: State) -> None:
        self._forget_after(self.position)
        self.states.append(state)
        self.position += 1
        self.version += 1

    def _forget_after(self, position: int) -> None:
        del self.states[position + 1 :]
        self._saved = {saved for saved in self._saved if saved <= position}
        for shown in self.images.values():
            shown.candidates = {k: value for k, value in shown.candidates.items() if k <= position}

    def move(self, steps: int) -> None:
        """Undo or redo edits.

        Raises:
            RegardError: there is nothing to undo or redo.
        """
        if not 0 <= self.position + steps < len(self.states):
            raise RegardError("there is nothing to " + ("undo" if steps < 0 else "redo"))
        self.position += steps
        self.version += 1

    @property
    def unsaved(self) -> bool:
        """Whether what is shown would be lost with it: edits or corrections that are in no file."""
        return bool(self.states) and self.position not in self._saved

    def mark_saved(self) -> None:
        """Note that what is shown is in a file now."""
        self._saved.add(self.position)

    def references(self) -> list[str]:
        """What commands on the model must name as ``--module``."""
        own = {} if self.state.detector is None else self.state.detector.user_modules
        return [named for named in self._references if named.rpartition(":")[2] in own]

    def difference(self) -> EditEffect | None:
        """Costs and tensors of what is shown, compared with the base; None where a graph cannot be built."""
        if self.base.detector is None or self.state.detector is None:
            return None
        return difference(self.base.detector, self.state.detector, (self.base.diagram, self.state.diagram))

    def add_image(self, pixels: Image, name: str) -> str:
        """Keep an image under a name that is returned; the oldest are forgotten."""
        key = secrets.token_hex(8)
        self.images[key] = Shown(pixels, name)
        while len(self.images) > 1 and (len(self.images) > MOST_IMAGES or self._image_bytes() > MOST_BYTES):
            self.images.popitem(last=False)
        return key

    def _image_bytes(self) -> int:
        return sum(shown.pixels.nbytes for shown in self.images.values())

    def image(self, key: str) -> Shown:
        """Look up an image.

        Raises:
            RegardError: it is not kept any more.
        """
        if key not in self.images:
            raise RegardError("this image is not kept any more", hint="open it again")
        self.images.move_to_end(key)
        return self.images[key]
