"""Loading and saving of whole detectors, from all kinds of files and names that a user may give as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from regard.errors import RegardError, warn
from regard.graph.aliases import unknown_names
from regard.graph.bind import scale_channels
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.dialects.yolov5_v1 import moved_rows
from regard.graph.read import parse_spec, read_spec, spec_from_document, stock_graphs, zoo
from regard.graph.spec import ModelSpec
from regard.graph.unknown_layers import with_others
from regard.graph.user_modules import reference_to
from regard.nn.heads.fork import ForkHead
from regard.nn.heads.yolov5 import number_of_classes
from regard.system.files import is_file, is_folder
from regard.weights.checkpoint import ROW_KEY, Checkpoint, read_checkpoint
from regard.weights.fork_layers import as_in_tensors, with_meanings, with_own_keys
from regard.weights.fused import unfused
from regard.weights.hub import is_hub, local_file, reject_hub
from regard.weights.implied import as_in_weights
from regard.weights.module_settings import settle, with_activation
from regard.weights.paths import CHECKPOINTS, WEIGHTS, missing_file, weights_of, weights_of_run
from regard.weights.store import WeightsHeader, load_weights, save_weights
from regard.weights.timm_weights import load_backbone
from regard.weights.transfer import TransferReport, transfer

MOST_DIFFERENCES = 20
"""Number of tensors above which a model of the zoo is not named as similar to a state dict."""

Modules = Mapping[str, type[nn.Module]]
Model: TypeAlias = Detector | str | Path


def load_detector(
    source: str | Path,
    *,
    modules: Modules | None = None,
    allow_miswired: bool = False,
    like: ModelSpec | None = None,
) -> Detector:
    """Load a model from a ``.pt``, ``.safetensors``, model YAML, overlay, run folder, or a name from the model zoo.

    Args:
        source: the file, folder or name.
        modules: the user's own classes by name.
        allow_miswired: see ``graph.build``.
        like: graph of tensors that come without one and fit no model of the zoo.

    Raises:
        RegardError: the file is not found, damaged or of another kind, or needs a user module that was not given.
    """
    if not isinstance(source, str | Path):
        raise RegardError(f"the model is {source!r:.200}", expected="a file, a run folder, or a name of the model zoo")
    reject_hub(source)
    path = Path(source)
    is_zoo = str(source) in zoo()
    if is_zoo:
        _warn_of_two(path)
    if is_folder(path) and not (is_zoo and weights_of(path) is None):
        path = weights_of_run(path)
    suffix = path.suffix.lower()
    if suffix == WEIGHTS:
        return _from_store(path, modules, allow_miswired)
    if suffix in CHECKPOINTS:
        return _from_checkpoint(path, modules, allow_miswired, like)
    spec = read_spec(source)
    try:
        detector = build(spec, modules=modules, allow_miswired=allow_miswired)
    except RegardError as error:
        raise with_others(error, spec, modules) from error
    detector.started_from = str(source)
    return detector


def _warn_of_two(path: Path) -> None:
    """Warn if a name of the zoo is also that of a file or folder, and say which is loaded: first what is a model."""
    others = [x for x in (path, path.with_suffix(".yaml"), path.with_suffix(".yml")) if is_file(x) or is_folder(x)]
    if not others:
        return
    own = is_file(path) or weights_of(path) is not None
    what = f"{str(path)!r} is the name of two models: the model of the package is loaded, not {others[0]}"
    hint = f"for your own, give ./{others[0]}"
    if own:
        what = f"{str(path)!r} is the name of two models: your own is loaded, not the model of the package"
        hint = "rename it to load the model of the package"
    warn(f"{what}; {hint}")


def as_detector(model: Model, *, modules: Modules | None = None, allow_miswired: bool = False) -> Detector:
    """Load a detector that a user gives as text, also an address of the Hub, or as a path, or that is loaded already.

    Raises:
        RegardError: as for `load_detector`.
    """
    if isinstance(model, Detector):
        return model
    return load_from_anywhere(model, modules=modules, allow_miswired=allow_miswired)


def load_from_anywhere(source: str | Path, *, modules: Modules | None = None, allow_miswired: bool = False) -> Detector:
    """Load a detector as `load_detector` does, also from an address of the Hub."""
    detector = load_detector(local_file(source), modules=modules, allow_miswired=allow_miswired)
    if is_hub(source):
        detector.started_from = str(source)  # not its place in the cache of this machine
    return detector


def save_detector(
    path: Path,
    detector: Detector,
    *,
    state: Mapping[str, Tensor] | None = None,
    training: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a detector as one ``.safetensors`` file with its graph, class names, anchors and settings.

    Args:
        path: the file, which is replaced only when the new one is complete.
        detector: the detector.
        state: other values for its tensors, such as their averages.
        training: the settings of its training.
        extra: any other information that JSON can represent.
    """
    header = WeightsHeader(
        graph=detector.spec.to_yaml(),
        names=detector.names,
        modules={name: reference_to(layer) for name, layer in detector.user_modules.items()},
        training=dict(training or {}),
        extra={**detector.history(), **(extra or {})},
    )
    save_weights(path, detector.state_dict() if state is None else state, header)


def replace_classes(detector: Detector, names: Mapping[int, str]) -> tuple[Detector, TransferReport]:
    """Build a copy of a detector for other classes and keep all matching tensors; the report lists them."""
    return rebuild(detector, _for_classes(detector, len(names), detector), names=names)


def rebuild(
    detector: Detector,
    spec: ModelSpec,
    *,
    names: Mapping[int, str] | None = None,
    modules: Modules | None = None,
    allow_miswired: bool = False,
    share: bool = False,
) -> tuple[Detector, TransferReport]:
    """Build a graph and transfer the weights of ``detector`` to it.

    Args:
        detector: source of the weights; it is not changed.
        spec: the graph to build.
        names: class names; by default those of ``detector``.
        modules: further user modules.
        allow_miswired: see ``graph.build``.
        share: use the layers that do not change, instead of copies.
    """
    new = build(
        spec,
        names=names or detector.names,
        modules={**detector.user_modules, **(modules or {})},
        allow_miswired=allow_miswired,
        share=detector if share else None,
    )
    report = transfer(detector.state_dict(), detector.spec, detector.names, new)
    new.inherit(detector)
    return new, report


def with_weights(detector: Detector, path: str | Path, modules: Modules | None) -> tuple[Detector, TransferReport]:
    """Fill a detector from a file of a detector, or from one of the backbone of timm that its graph has.

    Raises:
        RegardError: as for `load_detector`.
    """
    report = load_backbone(detector, Path(path))
    if report is not None:
        detector.origin, detector.started_from = Path(path).name, str(path)
        return detector, report
    return load_matching(detector, load_detector(path, modules=modules, like=detector.spec))


def load_matching(detector: Detector, source: Detector) -> tuple[Detector, TransferReport]:
    """Build the graph of ``detector`` with the matching weights, the classes and the anchors of ``source``.

    Returns:
        The new detector, and where each of its tensors comes from.
    """
    ours, theirs = detector.spec.activation, source.spec.activation
    if ours != theirs:
        what = f"the weights were learned with {theirs}, but the graph has {ours}"
        text = f"{what}: it computes something else, unless it states activation: {theirs}"
        warn(text)
    spec = _for_classes(detector, source.nc, source)
    modules = {**source.user_modules, **detector.user_modules}
    # The graph was checked when `detector` was built.
    return rebuild(source, spec, modules=modules, allow_miswired=True)


def _for_classes(detector: Detector, nc: int, source: Detector) -> ModelSpec:
    """The graph of a detector for ``nc`` classes, with a head that has the shapes of that of ``source``."""
    spec, head = detector.spec, detector.spec.layers[-1]
    if type(detector.head) is not type(source.head):
        return spec.with_classes(nc)
    kept = source.head.kept_options(spec.info[head.name].in_channels, nc)
    head = replace(head, options={**kept, **head.options})
    return replace(spec, layers=(*spec.layers[:-1], head)).with_classes(nc)


def _from_store(path: Path, modules: Modules | None, allow_miswired: bool) -> Detector:
    state, header = load_weights(path)
    spec = replace(parse_spec(header.graph, path, whole=True), file=path).without_lines()
    _require_modules(path, header.modules, modules)
    detector = build(spec, names=header.names, modules=modules, allow_miswired=allow_miswired)
    _fill(detector, state, path)
    detector.read_history(header.extra)
    detector.started_from = str(path)
    return detector


def _from_checkpoint(
    path: Path, modules: Modules | None, allow_miswired: bool, like: ModelSpec | None = None
) -> Detector:
    if not is_file(path):
        raise missing_file(path)
    spec, checkpoint = _spec_of(read_checkpoint(path), path, modules, like)
    names = checkpoint.names or None
    try:
        detector = build(spec, names=names, modules=modules, allow_miswired=allow_miswired)
    except RegardError as error:
        rows = [row.module for row in spec.layers if f"layer {row.name!r}: " in error.what]
        own = f"if it is a class of the file's own, give it: --module FILE.py:{rows[0]}" if rows else None
        raise RegardError(error.what, file=path, expected=error.expected, hint=error.hint or own) from error
    try:
        state = unfused(detector, checkpoint.state)
    except RegardError as error:
        raise RegardError(error.what, file=path, expected=error.expected) from error
    fitting = as_in_tensors(detector.spec, checkpoint.state)
    if fitting is not detector.spec:
        detector = build(fitting, names=names, modules=modules, allow_miswired=allow_miswired)
    state = with_own_keys(detector, state, checkpoint.module_classes)
    if isinstance(detector.head, ForkHead):  # its class need not keep the anchors, which are those of the graph
        state.setdefault(f"model.{len(detector.spec.layers) - 1}.anchors", detector.head.get_buffer("anchors"))
    _fill(detector, state, path, checkpoint.module_classes)
    settle(detector, checkpoint.settings, path)
    detector.spec = replace(detector.spec, file=None)
    detector.origin, detector.started_from = path.name, str(path)
    return detector


def _spec_of(
    checkpoint: Checkpoint, path: Path, modules: Modules | None, like: ModelSpec | None
) -> tuple[ModelSpec, Checkpoint]:
    """The graph of a checkpoint as its tensors show it, and the checkpoint with the rows of that graph."""
    try:
        spec = spec_from_document(checkpoint.yaml) if checkpoint.yaml else _graph_of(checkpoint.state, path, like)
        if checkpoint.yaml and spec.anchors is not None:
            checkpoint = checkpoint.with_rows(moved_rows(checkpoint.yaml, spec.nc, spec.anchors))
        spec = as_in_weights(_with_own_head(spec, checkpoint), checkpoint.state, modules or ())
        _require_classes(spec, checkpoint, modules)
        spec = with_meanings(spec, checkpoint.state, modules or {})
        return replace(with_activation(spec, checkpoint.settings), file=path).without_lines(), checkpoint
    except RegardError as error:  # the lines are those of no file
        raise error.at(path) from error


def _with_own_head(spec: ModelSpec, checkpoint: Checkpoint) -> ModelSpec:
    """Copy a graph whose head has the name of its class in the checkpoint, where that is not YOLOv5's."""
    head = spec.layers[-1]
    package, _, made_by = checkpoint.module_classes.get(len(spec.layers) - 1, "").rpartition(".")
    if spec.anchors is None or head.module != "Detect" or made_by in ("", "Detect") or package.startswith("regard."):
        return spec
    return replace(spec, layers=(*spec.layers[:-1], replace(head, module=made_by)))


def _require_classes(spec: ModelSpec, checkpoint: Checkpoint, modules: Modules | None) -> None:
    unknown = unknown_names(spec, modules or {})
    if unknown:
        rows = {name: [i for i, layer in enumerate(spec.layers) if layer.module == name] for name in unknown}
        made_by = (checkpoint.module_classes.get(rows[name][0], name) for name in unknown)
        raise RegardError(
            f"the model needs {', '.join(made_by)}, which the package does not have",
            expected="layers of the package (docs/catalogue.md, docs/aliases.md), or your own",
            hint="give the file of the class: "
            + " ".join(f"--module FILE.py:{name}" for name in unknown)
            + " (in Python: modules={...})",
        )


def _require_modules(path: Path, needed: Mapping[str, str], given: Modules | None) -> None:
    missing = {name: where for name, where in needed.items() if name not in (given or {})}
    if missing:
        raise RegardError(
            f"the model needs your own {', '.join(missing)}",
            file=path,
            hint="give " + " ".join(f"--module {where}" for where in missing.values()) + " (in Python: modules={...})",
        )


def _fill(
    detector: Detector, state: Mapping[str, Tensor], path: Path, classes: Mapping[int, str] | None = None
) -> None:
    """Load ``state``, whose keys and shapes must be exactly those of the detector.

    Args:
        detector: changed in place.
        state: the tensors.
        path: their file, for messages.
        classes: class of each row in the file, if known.

    Raises:
        RegardError: they differ; the first differences are listed.
    """
    wanted = detector.state_dict()
    differences = _differences(wanted, state)
    if differences:
        rows = {int(text.split(".")[1]) for text in differences if ROW_KEY.match(text)}
        name = (classes or {}).get(min(rows), "").rpartition(".")[2] if len(rows) == 1 else ""
        raise RegardError(
            f"the weights do not fit their graph: {_listed(differences)}",
            file=path,
            hint=f"the {name or 'layer'} of the file may be another one of that name: give its own class by --module "
            f"FILE.py:{name or 'NAME'} (in Python: modules=)",
        )
    wrong = [key for key in wanted if not state[key].isfinite().all()]
    if wrong:
        n, first = len(wrong), wrong[0]
        what = f"{path}: {n} of {len(wanted)} tensors have values that are not finite numbers, first {first}"
        warn(what)
    detector.load_state_dict(dict(state))


def _differences(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Describe the tensors that are missing, not expected or of another shape."""
    found = [f"{key} is missing" for key in wanted if key not in state]
    found += [f"{key} is not expected" for key in state if key not in wanted]
    return found + [
        f"{key} is {tuple(state[key].shape)}, but {tuple(wanted[key].shape)} in the graph"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]


def _listed(differences: Sequence[str]) -> str:
    return "; ".join(differences[:3]) + (f"; and {len(differences) - 3} more" if len(differences) > 3 else "")


def _graph_of(state: Mapping[str, Tensor], path: Path, like: ModelSpec | None = None) -> ModelSpec:
    """Find the graph of the model zoo that a plain state dict fits, or ``like`` if it has the same head."""
    first, nearest = next(iter(state.values()), None), (MOST_DIFFERENCES, "")
    for name in zoo():
        spec = read_spec(name)
        nc = _classes_of(spec, state)
        width = scale_channels(spec.layers[0].args[0], spec.width_multiple) if spec.layers[0].args else None
        if nc is None or first is None or width not in (None, *first.shape[:1]):
            continue
        detector = build(as_in_weights(spec.with_classes(max(nc, 1)), state))
        own = detector.state_dict()
        try:
            found = unfused(detector, state)
        except RegardError:
            continue
        differences = _differences(own, found)
        if not differences:
            return detector.spec
        nearest = min(nearest, (len(differences), f"{name}, but {_listed(differences)}"))
    nc = _classes_of(like, state) if like else None
    if like and nc is not None:
        return like.with_classes(max(nc, 1))
    raise RegardError(
        "a state dict without a graph, which fits no model of the zoo" + (nearest[1] and f"; nearest is {nearest[1]}"),
        file=path,
        expected="a whole checkpoint, or the tensors of one of "
        + ", ".join(s.file.stem for s in stock_graphs() if s.file),
        hint="or give the graph as the model and this file as --weights (in Python: regard.load(graph, weights=FILE))",
    )


def _classes_of(spec: ModelSpec, state: Mapping[str, Tensor]) -> int | None:
    """Number of classes of a state dict if its head stands where that of ``spec`` does, else None."""
    head = f"model.{len(spec.layers) - 1}."
    if spec.anchors is not None:
        last = state.get(f"{head}m.0.weight")
        return None if last is None else number_of_classes(last.shape[0], spec.anchors)
    last = state.get(f"{head}cv3.0.2.weight")
    return None if last is None else last.shape[0]
