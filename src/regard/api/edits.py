"""Edits as values: applied to a detector, written as a command, as Python and as an overlay, and compared in cost."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from regard.api.models import rebuilt
from regard.errors import RegardDeprecationWarning, RegardError, warn
from regard.graph import edit as graphs
from regard.graph.detector import Detector
from regard.graph.diagram import Diagram, diagram
from regard.graph.document import flow
from regard.nn.table import graph_name

EDITED, OTHER = "edited.safetensors", "edited-again.safetensors"
"""Names of the file that the commands of several edits hand on: the second if they begin with the first."""


@dataclass(frozen=True)
class Edit:
    """One edit of a detector.

    Attributes:
        kind: what is done.
        layer: name of the layer that is replaced or removed, or that the new one follows.
        module: name of the class of the new layer; "" to remove.
        options: arguments of the module by name.
        gate: put an inserted layer behind a gate.
        readers: readers of ``layer`` that read an inserted layer; all if None.

    Example:
        >>> import regard
        >>> edit = Edit("insert", "p4", "SE", {"reduction": 8})
        >>> edit.apply(regard.load("odd-one-out")).spec.layer("p4.se").options
        {'reduction': 8}
        >>> edit.command("a.pt", "b.safetensors")
        'regard insert a.pt SE --after p4 -a reduction=8 -o b.safetensors'
    """

    kind: Literal["insert", "replace", "remove"]
    layer: str
    module: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    gate: bool = True
    readers: tuple[str, ...] | None = None

    def apply(
        self, model: Detector, *, share: bool = False, modules: Mapping[str, type[nn.Module]] | None = None
    ) -> Detector:
        """Edit a copy of a detector.

        Args:
            model: the detector.
            share: use its unchanged layers themselves, which is much faster and takes no memory, instead of copies.
            modules: the user's own classes by name, next to those of the model.

        Raises:
            RegardError: as `regard.insert`, `regard.replace` and `regard.remove`.
        """
        word, known = graph_name({**(modules or {}), **model.user_modules}.get(self.module, self.module))
        if not word and self.kind != "remove":
            raise RegardError("no module is named", expected="the name of a layer, such as SE")
        if self.kind == "remove":
            spec = graphs.remove(model.spec, self.layer)
        elif self.kind == "replace":
            spec = graphs.replace_layer(model.spec, self.layer, word, options=self.options, modules=known)
        else:
            more: dict[str, Any] = {"options": self.options, "gate": self.gate, "readers": self.readers or None}
            spec = graphs.insert(model.spec, word, after=self.layer, **more)
        return rebuilt(model, spec, known, share=share)

    def command(self, source: str, output: str, modules: Sequence[str] = (), weights: str = "") -> str:
        """Write the edit as a command line, with ``modules`` for ``--module``, and ``weights`` for ``--weights``."""
        words = ["regard", self.kind, _no_option(source)]
        words += {"insert": [self.module, "--after", self.layer], "replace": [self.layer, self.module]}.get(
            self.kind, [self.layer]
        )
        for name, value in self.options.items():
            words += ["-a", f"{name}={flow(value)}"]
        if self.kind == "insert":
            words += [] if self.gate else ["--no-gate"]
            words += [word for reader in self.readers or () for word in ("--reader", reader)]
        words += [word for name in modules for word in ("--module", name)]
        return shlex.join([*words, *(["--weights", _no_option(weights)] if weights else []), "-o", output])

    def python(self, own: Collection[str] = ()) -> str:
        """Write the edit as a line of Python on a variable ``model``; ``own`` are names of the user's own classes."""
        module = self.module if self.module in own else repr(self.module)
        rest = [f"options={self.options!r}"] if self.options else []
        if self.kind == "remove":
            return f"model = regard.remove(model, {self.layer!r})"
        if self.kind == "replace":
            return f"model = regard.replace({', '.join(['model', repr(self.layer), module, *rest])})"
        rest += [] if self.gate else ["gate=False"]
        rest += [f"readers={list(self.readers)!r}"] if self.readers else []
        return f"model = regard.insert({', '.join(['model', module, f'after={self.layer!r}', *rest])})"

    def variant(self) -> str:
        """Write the edit as `regard ablate` reads it: ``SE(reduction=8)@sppf``; "" where that cannot express it."""
        if self.kind == "remove" or self.readers or not (self.gate or self.kind == "replace"):
            return ""
        options = ", ".join(f"{name}={flow(value)}" for name, value in self.options.items())
        return f"{self.module}{f'({options})' if options else ''}@{self.layer}"

    def overlay_entry(self) -> str:
        """Write the edit as an entry of an overlay."""
        if self.kind == "remove":
            return flow(self.layer)
        entry: dict[str, Any] = {"after" if self.kind == "insert" else "layer": self.layer, "module": self.module}
        entry |= {"args": self.options} if self.options else {}
        if self.kind == "insert":
            entry |= ({} if self.gate else {"gate": False}) | ({"readers": self.readers} if self.readers else {})
        return flow(entry)


@dataclass(frozen=True)
class Recipe:
    """Several edits in the forms in which they can be copied: commands, Python, and a variant of a study.

    Attributes:
        commands: one per line; "" where the model is in no file.
        python: a script; where the model is in no file, its variable ``model`` is that model.
        insert: the edits as one variant for ``regard ablate --insert``; "" if they are not all insertions.
        replace: likewise for ``--replace``.
    """

    commands: str
    python: str
    insert: str = ""
    replace: str = ""


def recipe(edits: Sequence[Edit], source: str, modules: Sequence[str] = (), weights: str = "") -> Recipe:
    """Write edits one after another.

    Args:
        edits: in their order.
        source: model that the first one edits; "" if it is in no file, for which there are no commands.
        modules: references ``file.py:Class`` of the user's own classes.
        weights: file of the weights of ``source``, if that is a graph.

    Example:
        >>> print(recipe([Edit("insert", "p4", "SE"), Edit("remove", "p3")], "a.pt").commands)
        regard insert a.pt SE --after p4 -o edited.safetensors
        regard remove edited.safetensors p3 -o edited.safetensors
    """
    output = OTHER if Path(source).name == EDITED else EDITED
    sources = [(source, weights), *[(output, "")] * (len(edits) - 1)]
    commands = [
        edit.command(before, output, modules, given) for edit, (before, given) in zip(edits, sources, strict=False)
    ]
    known = {name.rpartition(":")[2]: Path(name.rpartition(":")[0]).stem for name in modules}
    imports = [f"from {file} import {name}" for name, file in known.items()]
    more = f", modules={{{', '.join(f'{name!r}: {name}' for name in known)}}}" if known else ""
    more += f", weights={weights!r}" if weights else ""
    python = ["import regard", *imports, "", *([f"model = regard.load({source!r}{more})"] if source else [])]
    python += [edit.python(known) for edit in edits]
    script = "\n".join([*python, f"regard.save(model, {output!r})"])
    variants = [edit.variant() for edit in edits]
    variant = "+".join(variants) if all(variants) else ""
    insert, replace = (variant if all(edit.kind == kind for edit in edits) else "" for kind in ("insert", "replace"))
    return Recipe("\n".join(commands) if source else "", script, insert, replace)


def _no_option(name: str) -> str:
    """A name of a file that commands do not take for an option."""
    return f"./{name}" if name.startswith("-") else name


def overlay(edits: Sequence[Edit], base: str, nc: int | None = None) -> str:
    """Write edits as an overlay of the graph ``base``.

    An overlay lists its edits by kind and in order, so edits of one kind must not be interrupted by another.

    Raises:
        RegardError: they are.

    Example:
        >>> print(overlay([Edit("insert", "sppf", "SE")], "yolov5n"))
        base: yolov5n
        insert:
          - {after: sppf, module: SE}
        <BLANKLINE>
    """
    lines, last = [f"base: {base}", *([f"nc: {nc}"] if nc is not None else [])], ""
    for edit in edits:
        if edit.kind != last:
            if f"{edit.kind}:" in lines:
                raise RegardError("an overlay cannot alternate between kinds of edits", hint="save the whole graph")
            lines.append(f"{edit.kind}:")
        last = edit.kind
        lines.append(f"  - {edit.overlay_entry()}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class EditEffect:
    """Costs before and after edits, at one size of image, and the number of tensors that are kept.

    Attributes:
        parameters: number of learned values, of the base and of the edited detector.
        gflops: FLOPs in billions, likewise.
        saved_mib: memory of activations kept in training, in MiB, likewise.
        kept: tensors of the base that the edited detector contains, unchanged.
        tensors: tensors of the base.
    """

    parameters: tuple[int, int]
    gflops: tuple[float, float]
    saved_mib: tuple[float, float]
    kept: int
    tensors: int


def difference(base: Detector, edited: Detector, costs: tuple[Diagram, Diagram] | None = None) -> EditEffect:
    """Compare a detector with the one that it was made from.

    Args:
        base: before the edits.
        edited: after them.
        costs: their diagrams, if they are known.

    Example:
        >>> import regard
        >>> model = regard.load("odd-one-out")
        >>> changed = difference(model, regard.insert(model, "SE", after="p4"))
        >>> changed.kept == changed.tensors, changed.parameters[1] > changed.parameters[0]
        (True, True)
    """
    before, after = costs or (diagram(base), diagram(edited))
    mine, theirs = _tensors(base), _tensors(edited)
    kept = sum(key in theirs and _equal(tensor, theirs[key]) for key, tensor in mine.items())
    return EditEffect(
        (before.parameters, after.parameters),
        (before.gflops, after.gflops),
        (before.saved_mib, after.saved_mib),
        kept,
        len(mine),
    )


def __getattr__(name: str) -> Any:
    """Find a class by its former name."""
    if name == "Difference":
        warn("regard.api.edits.Difference is now EditEffect", RegardDeprecationWarning)
        return EditEffect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _tensors(detector: Detector) -> dict[tuple[str, str], torch.Tensor]:
    """Tensors by the name of their layer and their path in it."""
    return {
        (name, path): tensor for name, layer in detector.named_layers() for path, tensor in layer.state_dict().items()
    }


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape:
        return False
    return (a.data_ptr() == b.data_ptr() and a.stride() == b.stride()) or torch.equal(a, b)
