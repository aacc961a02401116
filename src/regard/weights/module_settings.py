"""What modules of a checkpoint compute besides their tensors: activations, epsilons, strides and residual sums.

A checkpoint pickles whole modules, so it may differ from the package's layers in a setting that no tensor shows. What
the graph can express is taken into it; an epsilon of a batch norm is moved into its running variance; anything else is
an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec
from regard.nn.activation import ACTIVATIONS, WITH_NUMBER, plain_activation

Settings = Mapping[str, tuple[str, Mapping[str, object]]]
"""Class name and plain attributes by the path of a module, such as ``model.0.act``."""

COMPARED: Mapping[str, tuple[str, ...]] = {
    "Conv2d": ("stride", "padding", "dilation", "groups", "padding_mode"),
    "MaxPool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "AvgPool2d": ("kernel_size", "stride", "padding", "ceil_mode"),
    "Upsample": ("size", "scale_factor", "mode"),
}
NUMBER_OF = {"LeakyReLU": "negative_slope", "ELU": "alpha"}


def with_activation(spec: ModelSpec, settings: Settings) -> ModelSpec:
    """Copy a graph with the activation of the convolutions in a checkpoint.

    Raises:
        RegardError: the activation is unknown, or they have several.
    """
    found = dict.fromkeys(
        _activation(name, attributes, path)
        for path, (name, attributes) in settings.items()
        if path.endswith(".act") and f"{path[:-3]}conv" in settings and name != "Identity"
    )
    if len(found) > 1:
        raise RegardError(
            f"its convolutions have different activations: {', '.join(found)}", expected="one for all convolutions"
        )
    return replace(spec, activation=next(iter(found), spec.activation))


def settle(detector: Detector, settings: Settings, path: Path) -> None:
    """Take the epsilons of batch norms from a checkpoint, and check that all else is computed as there.

    The variance of a batch norm is changed so that it computes the same with the package's epsilon.

    Args:
        detector: filled with the tensors of the checkpoint; changed in place.
        settings: of the modules of the checkpoint.
        path: the file, for messages.

    Raises:
        RegardError: a module computes something else.
    """
    for name, module in detector.named_modules():
        if name not in settings:
            continue
        theirs, attributes = settings[name]
        eps = attributes.get("eps")
        if isinstance(module, nn.BatchNorm2d) and isinstance(eps, float) and module.running_var is not None:
            module.running_var += eps - module.eps
        difference = _difference(module, theirs, attributes)
        if difference:
            row = detector.spec.layers[int(name.split(".")[1])]
            raise RegardError(
                f"layer {row.name!r}: {name} has {difference}",
                file=path,
                hint="give its own class by --module (in Python: modules=)",
            )


def _difference(module: nn.Module, theirs: str, attributes: Mapping[str, object]) -> str | None:
    """Describe what a module of a checkpoint computes in another way than ``module``."""
    ours = type(module).__name__
    if ours in ACTIVATIONS and theirs != ours:
        return f"the activation {theirs}, but {ours} here"
    if ours in ACTIVATIONS and theirs in WITH_NUMBER:
        names: Iterable[str] = (NUMBER_OF[theirs],)
    else:
        names = COMPARED.get(ours if ours == theirs else "", ("add",))
    for name in names:
        if name in attributes and hasattr(module, name):
            here = getattr(module, name)
            if _pair(attributes[name]) != _pair(here):
                return f"{name} {attributes[name]}, but {here} here"
    return None


def _pair(value: object) -> object:
    if isinstance(value, tuple | list) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return tuple(value) if isinstance(value, list) else value


def _activation(name: str, attributes: Mapping[str, object], path: str) -> str:
    number = attributes.get(NUMBER_OF.get(name, ""))
    try:
        return plain_activation(f"nn.{name}({number})" if number is not None else f"nn.{name}")
    except RegardError as error:
        raise RegardError(f"{path} is {name}", expected=error.expected, hint=error.hint) from error
