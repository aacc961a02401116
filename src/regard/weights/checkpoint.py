"""Reading checkpoints (``.pt``) of YOLOv5 v6 and of YOLOv8 to YOLO26 without executing them, and recognising others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from torch import Tensor

from regard.errors import RegardError
from regard.graph.tasks import task_of
from regard.weights.inert import Record
from regard.weights.unpickle import read_pickle
from regard.weights.yolov9_mit import from_mit_layout, is_mit_layout

WANTED = "a detection checkpoint of YOLOv5 v6, or of YOLOv8, v9, v10, 11, 12 or 26"
ROW_KEY = re.compile(r"model\.\d{1,6}\.")
MAX_DEPTH = 64  # nesting of modules, and of lists in the graph
MAX_PARTS = 200_000  # modules and tensors; thousands are usual
MAX_GRAPH_VALUES = 100_000
LIGHTNING = "pytorch-lightning_version"
MODEL_KEYS = ("ema", "ema_state_dict", "model_ema", "model", "state_dict", "model_state_dict")
"""Keys of models in a checkpoint, averages first."""
MAX_SIDES = 4  # numbers of an attribute, such as a stride
NOT_PERSISTENT = re.compile(r"model\.\d+\.anchor_grid")
"""Tensors that follow from others and that releases up to v6.0 saved."""

LATER_MODELS = re.compile(r"ultralytics\.nn\.tasks\.(YOLOv10)?DetectionModel")
LATER_HEADS = re.compile(r"ultralytics\.nn\.modules\.(head\.)?(v10)?Detect")
"""Classes of the detectors of YOLOv8 and later, in all releases of their package."""

OTHER_CLASSES = (
    (r"models\.yolo\.SegmentationModel", "a YOLOv5 segmentation model"),
    (r"models\.yolo\.ClassificationModel", "a YOLOv5 classification model"),
    (r"models\.experimental\.Ensemble", "an ensemble of YOLOv5 models"),
    (r"ultralytics\..*(SAM|Sam)\w*", "a SAM model of the `ultralytics` package"),
    (r"ultralytics\..*", "a model of the `ultralytics` package that is not known to be a detector"),
    (r"torchvision\.models\..*", "a torchvision model"),
)
OTHER_HEADS = (
    (r"models\.yolo\.Segment", "a YOLOv5 segmentation model"),
    (r"models\.common\.Classify", "a YOLOv5 classification model"),
    (r"models\.yolo\.I(Detect|AuxDetect|Keypoint|Bin)", "a YOLOv7 model"),
)
OTHER_KEYS = (
    (r"model\.\d+\.(cv4|cv4_kpts|flow_model|savpe|reprta|lrpc)\.", "a state dict of YOLOv8 or later for another task"),
    (r"model\.\d+\.proto\.", "the state dict of a segmentation model"),
    (r"model\.\d+\.linear\.", "the state dict of a classification model"),
    (r"model\.\d+\.(im|ia)\.\d+\.implicit", "the state dict of a YOLOv7 model"),
    (r"(.*\.)?(image_encoder|prompt_encoder|mask_decoder)\.", "the state dict of a SAM model"),
    (r"decoder\.(dec_score_head|dec_bbox_head|denoising_class_embed)\.", "the state dict of an RT-DETR model"),
)

Anchors = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint of any of these families.

    Attributes:
        state: tensors on the CPU by ``model.<row>.<submodule>...``; floating-point tensors are float32.
        yaml: the graph with the keys and values of its YAML file; None for a plain state dict.
        names: class names by class id; empty if the checkpoint has none.
        anchors: (width, height) in pixels of each anchor of each detection level; None if the strides are unknown.
        epoch: last finished epoch, -1 after the end of the training; None if the checkpoint has none.
        module_classes: full class name of each row, or of the module that it repeats; empty for a plain state dict.
        settings: class name and plain attributes of each module by its path; empty for a plain state dict.
    """

    state: dict[str, Tensor]
    yaml: dict[str, object] | None = None
    names: dict[int, str] = field(default_factory=dict)
    anchors: Anchors | None = None
    epoch: int | None = None
    module_classes: dict[int, str] = field(default_factory=dict)
    settings: dict[str, tuple[str, dict[str, object]]] = field(default_factory=dict)

    def with_rows(self, moved: Mapping[int, str]) -> Checkpoint:
        """Copy with the tensors and settings of each row under ``model.<moved[row]>``; unchanged where it is empty."""
        if not moved:
            return self

        def key(old: str) -> str:
            first, row, *rest = old.split(".") if ROW_KEY.match(f"{old}.") else (old, "")
            return ".".join((first, moved.get(int(row), row), *rest)) if row else old

        return replace(
            self,
            state={key(name): tensor for name, tensor in self.state.items()},
            settings={key(name): value for name, value in self.settings.items()},
            module_classes={int(moved[i]): name for i, name in self.module_classes.items() if moved[i].isdigit()},
        )


class _AnotherModel(Exception):  # noqa: N818 - converted to an error by the caller, who knows the file
    """Description of the content, to follow "this is"."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a detection checkpoint of YOLOv5 or later, or the plain state dict of one.

    The averaged weights (``ema``) are used if there are any, otherwise the ``model``.

    Raises:
        RegardError: the file is missing, damaged, or of another kind, which the message names.
    """
    content = read_pickle(path)
    epoch = content.get("epoch") if isinstance(content, dict) else None
    try:
        checkpoint = _read(content)
        state = _as_float32(checkpoint.state, most=path.stat().st_size)
    except _AnotherModel as found:
        raise RegardError(f"this is {found}", file=path, expected=WANTED, hint=_hint_of_lightning(content)) from None
    return replace(checkpoint, state=state, epoch=epoch if isinstance(epoch, int) else None)


def _hint_of_lightning(content: object) -> str | None:
    """What to do with a checkpoint of PyTorch Lightning; detectors inside one are read as in any other file."""
    if not isinstance(content, dict) or LIGHTNING not in content:
        return None
    made = f"PyTorch Lightning {content[LIGHTNING]!s:.20} saved it, without the graph of its model"
    return f"{made}; save the state dict of the detector inside, with keys such as `model.0.conv.weight`"


def _read(content: object) -> Checkpoint:
    """Read the averaged weights if there are any, with the graph of whichever model has one."""
    models = [content]
    if isinstance(content, dict) and any(key in content for key in MODEL_KEYS):
        models = [content[key] for key in MODEL_KEYS if content.get(key) is not None] or [None]
    models = [_unwrapped(model) for model in models]
    if isinstance(models[0], Record):
        return _read_module(models[0])
    state = _plain_state(models[0])
    whole = next((model for model in models if isinstance(model, Record)), None)
    return replace(_read_module(whole), state=state) if whole else Checkpoint(state)


def _unwrapped(model: object) -> object:
    """The model inside an average or a wrapper of several devices."""
    for _ in range(MAX_DEPTH):
        inner: object = None
        if isinstance(model, Record):
            inner = _group(model, "_modules").get("module") or _attributes(model).get("ema")
        elif isinstance(model, dict) and isinstance(model.get("module"), dict):
            inner = model["module"]
        if not isinstance(inner, Record | dict):
            break
        model = inner
    return model


def _plain_state(content: object) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not content:
        raise _AnotherModel("a checkpoint without a model")
    keys = _without_prefixes([str(key) for key in content])
    if kind := _kind_of_keys(keys):
        raise _AnotherModel(kind)
    if is_mit_layout(keys):
        return from_mit_layout(_tensors(keys, content))
    strange = next((key for key in keys if not ROW_KEY.match(key)), None)
    if strange is not None:
        raise _AnotherModel(
            f"a checkpoint of another model (with the key {strange[:80]!r} instead of `model.<row>...`)"
        )
    return _tensors(keys, content)


def _tensors(keys: Sequence[str], content: Mapping[object, object]) -> dict[str, Tensor]:
    return {key: _tensor(key, value) for key, value in zip(keys, content.values(), strict=True)}


def _without_prefixes(keys: list[str]) -> list[str]:
    """Remove what wrappers put before every key, such as ``module.``."""
    for prefix in ("module.", "ema.", "_orig_mod.", "model.") * 2:
        if all(key.startswith(prefix) and not ROW_KEY.match(key) for key in keys):
            keys = [key.removeprefix(prefix) for key in keys]
    return keys


def _read_module(model: Record) -> Checkpoint:
    attributes, dotted = _attributes(model), model.made_by.dotted
    graph = attributes.get("yaml")
    built_from = graph.get("yaml_file") if isinstance(graph, dict) else None  # set by the package `ultralytics`
    rows = _rows(model)
    is_later = bool(LATER_MODELS.fullmatch(dotted)) and bool(rows)
    if is_later and not LATER_HEADS.fullmatch(_class_of(rows[max(rows)])):
        head = _class_of(rows[max(rows)])
        task = task_of(head.rpartition(".")[2])
        what = f"for {task}, with the head {head!r:.100}" if task else f"with the head {head!r:.100} instead of its own"
        raise _AnotherModel(f"a model of the `ultralytics` package {what}")
    if not is_later and (kind := _kind_of_model(dotted, built_from)):
        raise _AnotherModel(kind)
    if not isinstance(graph, dict) or not {"backbone", "head"} <= graph.keys() or not rows:
        raise _AnotherModel(f"a pickled {dotted!r:.100}, without a graph and its layers")
    classes = {row: _class_of(module) for row, module in rows.items()}
    last = max(rows)
    if kind := _kind_of_head(classes[last]):
        raise _AnotherModel(kind)
    return Checkpoint(
        state=dict(_named_tensors(model)),
        yaml=_plain_graph(graph),
        names=_names(attributes.get("names")),
        anchors=_anchors(rows[last], attributes.get("stride")),
        module_classes=classes,
        settings={path: _settings(module) for path, module in _modules(model)},
    )


def _attributes(module: object) -> dict[object, object]:
    """The ``__dict__`` of a pickled module."""
    return module.state if isinstance(module, Record) and isinstance(module.state, dict) else {}


def _group(module: Record, name: str) -> dict[str, object]:
    """The ``_parameters``, ``_buffers`` or ``_modules`` of a module, without those that are None."""
    group = _attributes(module).get(name)
    if not isinstance(group, dict):
        return {}
    return {str(key): value for key, value in group.items() if value is not None}


def _rows(model: Record) -> dict[int, Record]:
    layers = _group(model, "_modules").get("model")
    rows = _group(layers, "_modules") if isinstance(layers, Record) else {}
    return {
        int(row): module
        for row, module in rows.items()
        if ROW_KEY.match(f"model.{row}.") and isinstance(module, Record)
    }


def _class_of(module: Record) -> str:
    first = _group(module, "_modules").get("0")
    if module.made_by.name == "Sequential" and isinstance(first, Record):
        return first.made_by.dotted
    return module.made_by.dotted


def _modules(model: Record) -> Iterator[tuple[str, Record]]:
    """Yield each module and its path in the order of ``named_modules``."""
    waiting, left = [("", model)], MAX_PARTS
    while waiting:
        path, module = waiting.pop()
        children = _group(module, "_modules").items()
        left -= 1 + len(children)
        if left < 0 or path.count(".") > MAX_DEPTH:
            raise _AnotherModel("a checkpoint whose modules are nested or repeated too often")
        yield path, module
        prefix = f"{path}." if path else ""
        waiting += [(f"{prefix}{name}", child) for name, child in children if isinstance(child, Record)][::-1]


def _named_tensors(model: Record) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and persistent buffers in the order of ``state_dict``."""
    left = MAX_PARTS
    for path, module in _modules(model):
        tensors = _group(module, "_parameters") | _persistent_buffers(module)
        left -= len(tensors)
        if left < 0:
            raise _AnotherModel("a checkpoint whose modules are nested or repeated too often")
        for name, value in tensors.items():
            key = f"{path}.{name}" if path else name
            yield key, _tensor(key, value)


def _settings(module: Record) -> tuple[str, dict[str, object]]:
    """Class name and plain attributes."""
    attributes = _attributes(module).items()
    plain = {str(key): value for key, value in attributes if _is_plain(value) and not str(key).startswith("_")}
    return module.made_by.name, plain


def _is_plain(value: object) -> bool:
    parts = value if isinstance(value, tuple | list) and len(value) <= MAX_SIDES else (value,)
    return all(part is None or isinstance(part, bool | int | float | str) for part in parts)


def _persistent_buffers(module: Record) -> dict[str, object]:
    transient = _attributes(module).get("_non_persistent_buffers_set")
    if not isinstance(transient, set):
        return _group(module, "_buffers")
    return {name: value for name, value in _group(module, "_buffers").items() if name not in transient}


def _tensor(key: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise _AnotherModel(f"a checkpoint whose {key[:80]!r} is not an ordinary tensor ({value!r:.80})")
    return value


def _as_float32(state: Mapping[str, Tensor], most: int) -> dict[str, Tensor]:
    """Convert floating-point tensors to float32; reject tensors that are larger than the file can contain."""
    if sum(tensor.numel() for tensor in state.values()) > most:
        raise _AnotherModel("a checkpoint whose tensors repeat a few numbers too often")
    return {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
        if not NOT_PERSISTENT.fullmatch(key)
    }


def _plain_graph(graph: Mapping[object, object]) -> dict[str, object]:
    left = iter(range(MAX_GRAPH_VALUES))
    return {str(key): _plain(value, left) for key, value in graph.items()}


def _plain(value: object, left: Iterator[int], depth: int = 0) -> object:
    """Convert a value to what a YAML file can contain; other objects become text."""
    if depth > MAX_DEPTH or next(left, None) is None:
        raise _AnotherModel("a checkpoint whose graph is nested or repeated too often")
    if isinstance(value, Tensor) and value.numel() <= 1000:
        value = value.tolist()
    if isinstance(value, dict):
        return {
            key if isinstance(key, str | int) else str(key): _plain(item, left, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, left, depth + 1) for item in value]
    return value if value is None or isinstance(value, str | int | float) else f"{value!r:.80}"


def _names(names: object) -> dict[int, str]:
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return {}
    return {key: str(name) for key, name in names.items() if isinstance(key, int) and isinstance(name, str | int)}


def _anchors(head: Record, stride: object) -> Anchors | None:
    cells, strides = _group(head, "_buffers").get("anchors"), _attributes(head).get("stride", stride)
    if not isinstance(cells, Tensor) or not isinstance(strides, Tensor):
        return None
    if cells.ndim != 3 or cells.shape[2] != 2 or strides.shape != cells.shape[:1] or cells.numel() > 1000:
        return None
    pixels = cells.double() * strides.double().view(-1, 1, 1)
    return tuple(tuple((width, height) for width, height in level) for level in pixels.tolist())


def _kind_of_model(dotted: str, yaml_file: object = None) -> str | None:
    """Describe a pickled model of class ``dotted`` if it is known to be no detector that can be read.

    Args:
        dotted: the full class name.
        yaml_file: the file that the model states it was built from, which distinguishes the models of one package.
    """
    task = task_of(dotted.rpartition(".")[2]) if dotted.startswith("ultralytics.") else None
    kind = _first_match(OTHER_CLASSES, [dotted.removeprefix("yolov5.")])
    if task:
        kind = f"a model of the `ultralytics` package for {task}"
    return f"{kind} built from {PurePath(yaml_file).name!r:.100}" if kind and isinstance(yaml_file, str) else kind


def _kind_of_head(dotted: str) -> str | None:
    """Describe a model whose last layer is of class ``dotted`` if it is known to be no detector that can be read."""
    return _first_match(OTHER_HEADS, [dotted.removeprefix("yolov5.")])


def _kind_of_keys(keys: Iterable[str]) -> str | None:
    """Describe a state dict if its keys are those of a known kind of model that cannot be read."""
    return _first_match(OTHER_KEYS, list(keys))


def _first_match(table: Iterable[tuple[str, str]], names: Sequence[str]) -> str | None:
    for pattern, kind in table:
        if any(re.match(pattern, name) for name in names):
            return kind
    return None
