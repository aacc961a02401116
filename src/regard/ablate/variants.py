"""The detectors of a study, and where each begins: all that they share has the same values for one seed.

The base is made ready for the data once for each seed (classes, anchors, fresh tensors). Every edit of it takes its
tensors from there, so that a new head or a base without weights starts alike in all variants; only what a variant
alone has is drawn for it, from a stream of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from regard.ablate.control import Control, capacity_control
from regard.ablate.notation import Edit, apply_insertions, apply_replacements, parse_variant
from regard.ablate.plan import BASE, NOISE, Plan, model_name
from regard.ablate.record import Role
from regard.data.dataset import DetectionDataset
from regard.data.formats import load_data
from regard.graph.detector import Detector
from regard.graph.user_modules import import_modules
from regard.training.loop import validation_split
from regard.training.prepare import fit_anchors, fit_classes
from regard.weights.detector import load_detector, load_matching, rebuild
from regard.weights.paths import SUFFIXES

Kind = Literal["", "insert", "replace", "model"]

NOISE_SEEDS = 1_000_003
"""What the noise control adds to a seed, for its order and its augmentation alone."""


@dataclass(frozen=True)
class Entry:
    """One variant, as a study keeps it.

    Attributes:
        name: unique in the study.
        role: what it is there for.
        kind: how it is made of the base; "" for the base itself.
        edits: insertions or replacements.
        source: the other model, for kind "model".
        controls: for a capacity control, the variant whose capacity it has.
        note: how near a control comes.
    """

    name: str
    role: Role
    kind: Kind = ""
    edits: tuple[Edit, ...] = ()
    source: str = ""
    controls: str = ""
    note: str = ""


class Lineup:
    """Makes the starting points of a plan's variants.

    Args:
        plan: what is compared.

    Attributes:
        data: the data set, with splits train and val.

    Raises:
        RegardError: the data, the base, the weights or a module cannot be read.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.modules: Mapping[str, type[nn.Module]] = import_modules(plan.module)
        settings = plan.settings(0, 1)
        self.data: DetectionDataset = load_data(plan.data, single_cls=settings.single_cls, classes=settings.classes)
        validation_split(self.data)
        self._base: tuple[int, Detector] | None = None

    def entries(self) -> list[Entry]:
        """Return the variants of the plan with their controls, the base first.

        Raises:
            RegardError: a variant cannot be built.
        """
        plan = self.plan
        asked = [_edited("insert", text) for text in plan.insert] + [_edited("replace", text) for text in plan.replace]
        asked += [Entry(model_name(source), "variant", "model", source=source) for source in plan.model]
        entries = [Entry(BASE, "base")]
        for entry in asked:
            entries += [entry, *self._control(entry)]
        if plan.control == "largest":
            entries = _largest_control_only(entries, self)
        if plan.noise:
            entries.append(Entry(NOISE, "noise control"))
        for entry in entries[1:]:
            self.start(entry, plan.seeds[0])  # what cannot be built is refused before anything is trained
        return entries

    def start(self, entry: Entry, seed: int) -> Detector:
        """Return where a run of a variant begins, in evaluation mode.

        Raises:
            RegardError: it cannot be built.
        """
        base = self.base(seed)
        if entry.kind == "":
            return base
        torch.manual_seed(_stream(seed, entry.name))
        if entry.kind == "model":
            return self._other(entry.source, base, seed)
        if entry.kind == "insert":
            spec = apply_insertions(base.spec, entry.edits, gate=self.plan.gate)
        else:
            spec = apply_replacements(base.spec, entry.edits)
        return rebuild(base, spec, modules=self.modules)[0]

    def base(self, seed: int) -> Detector:
        """Return the base, ready for the data, as all variants of one seed find it."""
        if self._base is None or self._base[0] != seed:
            torch.manual_seed(_stream(seed, BASE))
            detector = load_detector(self.plan.base, modules=self.modules)
            if self.plan.weights:
                detector = load_matching(detector, load_detector(self.plan.weights, modules=self.modules))[0]
            self._base = (seed, self._fitted(detector, seed))
        return self._base[1]

    def _other(self, source: str, base: Detector, seed: int) -> Detector:
        """Return another model: with its own weights where its file has any, else with what fits of the base's."""
        detector = load_detector(source, modules=self.modules)
        if Path(source).is_dir() or Path(source).suffix.lower() in SUFFIXES:
            return self._fitted(detector, seed)
        spec = replace(detector.spec.with_classes(base.nc), file=None)
        return self._fitted(rebuild(base, spec, modules={**detector.user_modules, **self.modules})[0], seed)

    def _fitted(self, detector: Detector, seed: int) -> Detector:
        torch.manual_seed(_stream(seed, "head"))  # new classes start from random weights
        settings = self.plan.settings(seed, 1)
        detector, _ = fit_classes(detector, self.data)
        if settings.autoanchor:
            fit_anchors(detector, self.data.splits["train"], settings)
        return detector

    def _control(self, entry: Entry) -> list[Entry]:
        if entry.kind != "insert" or self.plan.control == "none":
            return []
        control = self.control(entry)
        if not control.edits:
            return []
        name = f"control of {entry.name}"
        return [Entry(name, "capacity control", "insert", control.edits, controls=entry.name, note=control.note)]

    def control(self, entry: Entry) -> Control:
        """Return the capacity control of an insertion."""
        seed = self.plan.seeds[0]
        variant = self.start(entry, seed)
        return capacity_control(self.base(seed), variant, entry.edits, self.plan.match, self.plan.imgsz)

    def notes(self, entries: list[Entry]) -> dict[str, str]:
        """Return for each insertion what its control is like, or why there is none."""
        if self.plan.control == "none":
            return {}
        controlled = {entry.controls for entry in entries}
        notes = {}
        for entry in filter(_is_insertion, entries):
            control = self.control(entry)
            is_left_out = bool(control.edits) and entry.name not in controlled
            notes[entry.name] = (
                "left to the largest insertion, as control: largest asks" if is_left_out else control.note
            )
        return notes


def count_variants(entries: Sequence[Entry]) -> int:
    """Return how many are judged, at least 1."""
    return max(sum(entry.role == "variant" for entry in entries), 1)


def order_seed(entry: Entry, seed: int) -> int:
    """Return the seed of a run's data order and augmentation: one for all variants but the noise control."""
    return seed + NOISE_SEEDS if entry.role == "noise control" else seed


def _edited(kind: Literal["insert", "replace"], text: str) -> Entry:
    name, edits = parse_variant(text)
    return Entry(name, "variant", kind, edits)


def _is_insertion(entry: Entry) -> bool:
    return entry.role == "variant" and entry.kind == "insert"


def _largest_control_only(entries: list[Entry], lineup: Lineup) -> list[Entry]:
    """Keep the control of the variant that adds most."""
    controls = {entry.controls: entry for entry in entries if entry.role == "capacity control"}
    added = {entry.name: lineup.control(entry).added for entry in entries if entry.name in controls}
    kept = max(added, key=lambda name: added[name], default="")
    return [entry for entry in entries if entry.role != "capacity control" or entry.controls == kept]


def _stream(seed: int, name: str) -> int:
    """Return a seed of its own for each seed and name."""
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1, np.uint64)[0])
