"""Layers of the publisher's own that a model needs: which files define them, and how they are given to regard."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

from torch import nn

from regard.graph.detector import Detector
from regard.graph.user_modules import reference_to


@dataclass(frozen=True)
class OwnLayer:
    """A class that the graph of a model needs and the package does not have.

    Attributes:
        name: in the graph.
        reference: ``file.py:Class``, or the dotted name of a class that is in no file.
        is_class: whether the file defines a class of that name, and not a function.
    """

    name: str
    reference: str
    is_class: bool = True

    @property
    def _parts(self) -> tuple[str, str]:
        """The file, or "", and the class in it."""
        file, _, kind = self.reference.rpartition(":")
        return file, kind.rpartition(".")[2] if not file else kind

    def where(self) -> str:
        """What a user of the model has to get from its publisher."""
        file, kind = self._parts
        return f"get {file}, which defines {kind}, from the publisher" if file else "get its code from the publisher"

    def imported(self) -> Iterator[str]:
        """Lines of Python that import it from its file in the current folder."""
        file, kind = self._parts
        if not file:
            yield f"# {kind}: a class of the publisher's own, whose code you need"
        elif self._is_importable():
            yield f"from {Path(file).stem} import {kind}  # {file}: from the publisher"
        else:
            yield "from regard.graph.user_modules import import_modules"

    def expression(self) -> str:
        """The class in Python, after `imported`."""
        file, kind = self._parts
        if not file or self._is_importable():
            return kind
        return f"import_modules([{json.dumps(self.reference)}])[{json.dumps(kind)}]"

    def _is_importable(self) -> bool:
        file, kind = self._parts
        return self.is_class and Path(file).stem.isidentifier() and kind.isidentifier()


def own_layers(detector: Detector) -> list[OwnLayer]:
    """The layers of the user's own that a detector needs, each once, in their order."""
    named = dict.fromkeys(row.module for row in detector.spec.layers if row.module in detector.user_modules)
    kinds = {name: detector.user_modules[name] for name in named}
    return [OwnLayer(name, reference_to(kind), not _is_function(kind)) for name, kind in kinds.items()]


def _is_function(kind: type[nn.Module]) -> bool:
    """Whether the file of a layer has a function of its name, of which the layer was made."""
    return isinstance(getattr(sys.modules.get(kind.__module__), kind.__name__, None), FunctionType)
