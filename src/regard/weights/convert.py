"""Detectors in the form of other packages: a state dict with their key names, and the graph that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.errors import RegardError, one_of, warn
from regard.graph.detector import Detector
from regard.graph.dialects.external import PACKAGES, Package, write
from regard.nn.conv import BATCHNORM_EPS
from regard.nn.gate import GATED
from regard.nn.table import LAYERS
from regard.system.files import is_file, make_folder, reject_other, write_file
from regard.weights.detector import save_detector
from regard.weights.paths import WEIGHTS

NATIVE = "native"
FORMS = (NATIVE, *PACKAGES)
YAML = ".yaml"
STEM = "model"
"""Name of the files in a folder; a name such as yolo11m would choose a size in some packages."""

_HINT = "name another output"

SET_BY_BUILDERS = ("i", "f", "type", "np")
"""Attributes that the builders of these packages set in every layer."""


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        files: the files.
        classes: names of layers by the class that the other package must be given for them.
        namespace: the module of that package in which its builder looks for them; "" for the native form.
        resized: whether the head is of another width than that package builds, so that `fill` is needed.
    """

    files: tuple[Path, ...]
    classes: Mapping[str, tuple[str, ...]]
    namespace: str = ""
    resized: bool = False

    def to_text(self) -> str:
        """Describe what the other package needs besides the files; "" where it needs nothing."""
        lines = [f"{name} ({', '.join(layers)}): {self._source(name)}" for name, layers in self.classes.items()]
        if lines:
            lines = [f"before it builds the graph, {self.namespace} needs these classes:", *lines]
        if self.resized:
            lines.append("its head is of another width: load the weights by regard.weights.convert.fill(network, file)")
        return "\n  ".join(lines)

    def _source(self, name: str) -> str:
        inner = name.removeprefix(GATED)
        if inner not in LAYERS:
            return f"your own {inner}" if inner == name else f"regard.nn.gate.gated({inner}), with your own {inner}"
        return f'regard.nn.table.LAYERS["{inner}"]' if inner == name else f"regard.nn.gate.{name}"


def convert(detector: Detector, to: str, output: Path) -> Converted:
    """Write a detector in the form of another package, or in this package's own.

    Args:
        detector: the detector.
        to: one of `FORMS`.
        output: a ``.safetensors`` file, next to which the graph is written; or a folder for both. In the native form a
            ``.safetensors``, or a ``.yaml`` for the graph alone.

    Raises:
        RegardError: the other package cannot build the graph, the name of the file does not suit the form, or a file
            whose name was not given would be replaced.
    """
    if to not in FORMS:
        raise RegardError(f"the form {to!r} is unknown", expected=one_of(FORMS))
    if to == NATIVE:
        _write_native(detector, output)
        return Converted((output,), {})
    package = PACKAGES[to]
    graph, weights = _files(output)
    written = write(detector.spec, package, detector.names, graph)
    _check_attributes(detector, written.classes, package)
    _warn_of_epsilons(detector, package)
    text = written.text.encode()
    reject_other(graph, content=text, hint=_HINT)
    if weights != output and not is_file(graph):
        reject_other(weights, hint=_HINT)
    make_folder(graph.parent)
    write_file(graph, text)
    save_detector(weights, detector)
    return Converted((graph, weights), written.classes, package.namespace, _is_resized(detector))


def fill(network: nn.Module, weights: Path | str) -> None:
    """Load converted weights strictly into another package's network; convolutions of another width are resized.

    Args:
        network: the network, with the keys of the file.
        weights: a file that `convert` has written.

    Raises:
        RuntimeError: the keys differ.

    Example:
        >>> from regard.api import convert, load
        >>> _ = convert("yolov8n", "there", to="ultralytics")
        >>> fill(load("yolov8n"), "there/model.safetensors")
    """
    from safetensors.torch import load_file

    state = load_file(weights)
    for path, part in network.named_modules():
        tensor = state.get(f"{path}.weight")
        if isinstance(part, nn.Conv2d | nn.BatchNorm2d) and tensor is not None and tensor.shape != part.weight.shape:
            _resize(part, tensor)
    network.load_state_dict(state)


def _resize(part: nn.Conv2d | nn.BatchNorm2d, weight: Tensor) -> None:
    groups = [part.parameters(recurse=False), part.buffers(recurse=False)]
    with torch.no_grad():
        for tensor in [t for group in groups for t in group]:
            if tensor.ndim:
                tensor.set_(tensor.new_zeros(weight.shape if tensor.ndim == weight.ndim else weight.shape[:1]))  # type: ignore[call-overload]
    if isinstance(part, nn.BatchNorm2d):
        part.num_features = len(weight)
        return
    if part.groups > 1:
        part.groups = len(weight)
    part.out_channels, part.in_channels = len(weight), weight.shape[1] * part.groups


def _write_native(detector: Detector, output: Path) -> None:
    if output.suffix == WEIGHTS:
        save_detector(output, detector)
    elif output.suffix in (YAML, ".yml"):
        write_file(output, detector.spec.to_yaml())
    else:
        raise _wrong_suffix(output, f"{WEIGHTS} for graph and weights, or {YAML} for the graph")


def _files(output: Path) -> tuple[Path, Path]:
    """The files of graph and weights."""
    if output.suffix == WEIGHTS:
        return output.with_suffix(YAML), output
    if not output.suffix or output.is_dir():
        return output / f"{STEM}{YAML}", output / f"{STEM}{WEIGHTS}"
    raise _wrong_suffix(output, f"a folder, or a name that ends in {WEIGHTS}")


def _check_attributes(detector: Detector, classes: Mapping[str, tuple[str, ...]], package: Package) -> None:
    """Reject layers with a tensor or part of a name that the package's builder gives to every layer."""
    for name in (name for layers in classes.values() for name in layers):
        parts = dict(detector.layer(name).named_parameters(recurse=False)) | dict(detector.layer(name).named_children())
        taken = [part for part in SET_BY_BUILDERS if part in parts]
        if taken:
            what = f"layer {name!r}: its {taken[0]!r} has a name that {package.title} sets in every layer"
            raise RegardError(what, hint="insert it behind a gate, or write it in the native form (--to native)")


def _warn_of_epsilons(detector: Detector, package: Package) -> None:
    """Warn of batch norms with an epsilon that the other package replaces."""
    others = [
        name
        for name, layer in detector.named_layers()
        if any(isinstance(part, nn.BatchNorm2d) and part.eps != BATCHNORM_EPS for part in layer.modules())
    ]
    if others:
        what = f"{package.title} sets the epsilon of every batch norm to {BATCHNORM_EPS}"
        text = f"{what}, which is another in {', '.join(others)}: predictions differ slightly"
        warn(text)


def _wrong_suffix(output: Path, expected: str) -> RegardError:
    return RegardError(f"the suffix {output.suffix!r} is not a known format", file=output, expected=expected)


def _is_resized(detector: Detector) -> bool:
    """Whether the head has other tensors than the published rule gives for its graph."""
    channels = detector.spec.info[detector.spec.layers[-1].name].in_channels
    return bool(detector.head.kept_options(channels, detector.nc))
