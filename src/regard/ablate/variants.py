"""The detectors of a study and their starting points: tensors that variants share have the same values for one seed.

The base is prepared for the data once per seed (classes, anchors, new tensors). Every edit of it takes its tensors from
there, so a new head or a base without weights has equal values in all variants; only tensors of a single
variant are drawn for it, from a separate random stream.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from regard.ablate.folder import Variant
from regard.ablate.plan import BASE, NOISE, Edit, Plan, model_name, parse_variant
from regard.data.dataset import DetectionDataset
from regard.graph import edit as graph_edit
from regard.graph.cost import GATE_FLOPS, RowCost, row_costs
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec
from regard.graph.user_modules import import_modules
from regard.nn.gate import Gated
from regard.nn.residual import residual_flops, residual_parameters
from regard.training.prepare import fit_classes, fit_head, load_training_data
from regard.weights.detector import load_detector, rebuild, with_weights
from regard.weights.paths import SUFFIXES

Kind = Literal["", "insert", "replace", "model"]

NOISE_SEEDS = 1_000_003
"""What the noise control adds to a seed, for its order and its augmentation alone."""

CONTROL_MODULE = "ResidualConvolutions"

FARTHEST = 2.0
"""Largest ratio, either way, of the size of a control to that of its variant's insertion."""


@dataclass(frozen=True)
class DetectorVariant(Variant):
    """One detector of a study.

    Attributes:
        kind: how it is made of the base; "" for the base itself.
        edits: insertions or replacements.
        source: the other model, for kind "model".
    """

    kind: Kind = ""
    edits: tuple[Edit, ...] = ()
    source: str = ""


class VariantBuilder:
    """Makes the variants of a plan and their starting points.

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
        self.data: DetectionDataset = load_training_data(plan.data, settings)
        self._base: tuple[int, Detector] | None = None
        self._controls: dict[str, Control] = {}

    @cached_property
    def variants(self) -> list[DetectorVariant]:
        """The variants of the plan with their controls, the base first.

        Raises:
            RegardError: a variant cannot be built.
        """
        plan = self.plan
        asked = [_edited("insert", text) for text in plan.insert] + [_edited("replace", text) for text in plan.replace]
        asked += [DetectorVariant(model_name(source), "variant", kind="model", source=source) for source in plan.model]
        controls = {variant.name: self._control(variant) for variant in asked}
        if plan.control == "largest":
            added = {v.name: self.control(v).added for v in asked if controls[v.name]}
            largest = max(added, key=lambda name: added[name], default="")
            controls = {name: control for name, control in controls.items() if name == largest}
        variants = [DetectorVariant(BASE, "base")]
        for variant in asked:
            variants += [variant, *controls.get(variant.name, [])]
        if plan.noise:
            variants.append(DetectorVariant(NOISE, "noise control"))
        for variant in variants[1:]:
            self.start(variant, plan.seeds[0])  # what cannot be built is rejected before anything is trained
        return variants

    def start(self, variant: DetectorVariant, seed: int) -> Detector:
        """Build the detector that a run of a variant starts from, in evaluation mode.

        Raises:
            RegardError: it cannot be built.
        """
        base = self.base(seed)
        if variant.kind == "":
            return base
        torch.manual_seed(_stream(seed, variant.name))
        if variant.kind == "model":
            return self._other(variant.source, base, seed)
        if variant.kind == "insert":
            spec = apply_insertions(base.spec, variant.edits, gate=self.plan.gate)
        else:
            spec = apply_replacements(base.spec, variant.edits)
        return rebuild(base, spec, modules=self.modules)[0]

    def base(self, seed: int) -> Detector:
        """Build the base, prepared for the data, that all variants of one seed are made of."""
        if self._base is None or self._base[0] != seed:
            torch.manual_seed(_stream(seed, BASE))
            detector = load_detector(self.plan.base, modules=self.modules)
            if self.plan.weights:
                detector = with_weights(detector, self.plan.weights, self.modules)[0]
            self._base = (seed, self._fitted(detector, seed))
        return self._base[1]

    def _other(self, source: str, base: Detector, seed: int) -> Detector:
        """Build another model: with its own weights if its file has any, else with the base's matching tensors."""
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
            fit_head(detector, self.data.splits["train"], settings)
        return detector

    def _control(self, variant: DetectorVariant) -> list[DetectorVariant]:
        """The control of a variant; none if it has no insertions or nothing is as small."""
        if variant.kind != "insert" or self.plan.control == "none" or not self.control(variant).edits:
            return []
        name, control = f"control of {variant.name}", self.control(variant)
        return [
            DetectorVariant(name, "capacity control", variant.name, control.note, kind="insert", edits=control.edits)
        ]

    def control(self, variant: DetectorVariant) -> Control:
        """Design the capacity control of an insertion."""
        if variant.name not in self._controls:
            plan, seed = self.plan, self.plan.seeds[0]
            self._controls[variant.name] = capacity_control(
                self.base(seed), self.start(variant, seed), variant.edits, plan.control_match, plan.imgsz
            )
        return self._controls[variant.name]

    def control_notes(self) -> dict[str, str]:
        """For each insertion: how close its control is, or why there is none."""
        if self.plan.control == "none":
            return {}
        controlled = {variant.controls for variant in self.variants}
        notes = {}
        for variant in self.variants:
            if variant.role == "variant" and variant.kind == "insert":
                control = self.control(variant)
                is_left_out = bool(control.edits) and variant.name not in controlled
                notes[variant.name] = "only the largest insertion has a control" if is_left_out else control.note
        return notes


def order_seed(variant: Variant, seed: int) -> int:
    """Seed of a run's data order and augmentation: the same for all variants but the noise control."""
    return seed + NOISE_SEEDS if variant.role == "noise control" else seed


def _edited(kind: Literal["insert", "replace"], text: str) -> DetectorVariant:
    name, edits = parse_variant(text)
    return DetectorVariant(name, "variant", kind=kind, edits=edits)


def _stream(seed: int, name: str) -> int:
    """Derive a different random seed for each seed and name."""
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1, np.uint64)[0])


def apply_insertions(spec: ModelSpec, edits: tuple[Edit, ...], *, gate: bool) -> ModelSpec:
    """Insert a layer for each edit; see ``regard.graph.edit.insert``."""
    for edit in edits:
        spec = graph_edit.insert(spec, edit.module, after=edit.layer, options=edit.options, gate=gate)
    return spec


def apply_replacements(spec: ModelSpec, edits: tuple[Edit, ...]) -> ModelSpec:
    """Replace a layer for each edit; see ``regard.graph.edit.replace_layer``."""
    for edit in edits:
        spec = graph_edit.replace_layer(spec, edit.layer, edit.module, options=edit.options)
    return spec


@dataclass(frozen=True)
class Control:
    """What a capacity control inserts instead of a variant's layers.

    Attributes:
        edits: insertions of convolutions, one for each of the variant's; empty if none is close.
        note: how close they are, in words.
        added: parameters that the variant's own insertions add.
    """

    edits: tuple[Edit, ...]
    note: str
    added: int


def capacity_control(base: Detector, variant: Detector, edits: tuple[Edit, ...], match: str, imgsz: int) -> Control:
    """Design the control of a variant: residual convolutions of about its size, at the same place.

    A variant may beat the base because of its additional parameters alone. Its control has as many of them, or as many
    FLOPs, in layers without attention, behind the same gate.

    Args:
        base: without the insertions.
        variant: with them.
        edits: the insertions.
        match: "parameters" or "flops".
        imgsz: side of the input in pixels, which FLOPs depend on.
    """
    wanted = got = 0
    controls: list[Edit] = []
    costs = dict(zip((row.name for row in variant.spec.layers), row_costs(variant, imgsz), strict=True))
    inserted = _inserted(base.spec, edits)
    total = sum(costs[name].parameters for name in inserted)
    for edit, name in zip(edits, inserted, strict=True):
        cost, is_gated = costs[name], isinstance(variant.layer(name), Gated)
        if cost.shape != costs[variant.spec.layer(name).inputs[0]].shape:
            return Control(
                (), f"{name} changes the shape of its feature map, which residual convolutions cannot", total
            )
        size = _size_of(cost, match)
        gate = GATE_FLOPS * math.prod(cost.shape[0]) if match == "flops" else 1
        goal = (cost.flops if match == "flops" else cost.parameters) - is_gated * gate
        hidden = matching_width(size, goal)
        controls.append(Edit(CONTROL_MODULE, edit.layer, {"hidden": hidden}))
        wanted, got = wanted + goal, got + size(hidden)
    sizes = f"{got:,} {match.replace('flops', 'FLOPs')} for {wanted:,}"
    if not wanted or not 1 / FARTHEST <= got / wanted <= FARTHEST:
        return Control((), f"no convolutions are as small: at least {sizes}, so the base is its control", total)
    return Control(tuple(controls), f"{sizes} ({got / wanted - 1:+.1%})", total)


def matching_width(size: Callable[[int], int], wanted: int) -> int:
    """Find the width, 1 or more, whose size is nearest to ``wanted``; sizes grow with the width."""
    low, high = 1, 2
    while size(high) < wanted:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= wanted else (low, middle)
    return min((low, high), key=lambda width: abs(size(width) - wanted))


def _size_of(cost: RowCost, match: str) -> Callable[[int], int]:
    """Size of convolutions of a given width instead of a layer, without their gate."""
    channels, height, width = cost.shape[0]
    if match == "parameters":
        return lambda hidden: residual_parameters(channels, hidden)
    return lambda hidden: residual_flops(channels, hidden, height, width)


def _inserted(spec: ModelSpec, edits: tuple[Edit, ...]) -> list[str]:
    """Names of the layers that the edits insert, in their order."""
    names = []
    for edit in edits:
        before = {row.name for row in spec.layers}
        spec = apply_insertions(spec, (edit,), gate=True)
        names += [row.name for row in spec.layers if row.name not in before]
    return names
