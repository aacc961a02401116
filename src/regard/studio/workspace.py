"""The folder that the studio reads and writes; nothing outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.ablate.folder import STUDY
from regard.ablate.listing import PLAN
from regard.api.edits import overlay
from regard.config.hyp import RECIPES
from regard.data.dataset import Sample
from regard.data.formats import check_source, load_data
from regard.data.images import ImageFile
from regard.data.synthetic import PREFIX
from regard.detections import Detections
from regard.errors import RegardError, one_of
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.graph.edit import unique_name
from regard.graph.read import GRAPHS, MOST_BASES, base_source, graph_file, stock_name, zoo
from regard.graph.renumber import integer_yaml
from regard.prediction.films import VIDEO_SUFFIXES
from regard.studio.guard import inside
from regard.studio.jobs import ASKED
from regard.system.files import is_file, is_folder, make_folder, portable_name, write_file
from regard.system.loaders import MOST_YAML, parse_yaml, read_json_mapping, read_text
from regard.weights.detector import save_detector
from regard.weights.paths import SUFFIXES, weights_of

if TYPE_CHECKING:
    from regard.studio.bench import Bench, Image
    from regard.studio.questions import SaveQuestion

MODELS = (".pt", ".pth", ".safetensors", ".yaml", ".yml")
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FILMS = (*sorted(VIDEO_SUFFIXES), ".gif")
SUFFIX = {"overlay": ".yaml", "yaml": ".yaml", "integers": ".yaml", "safetensors": ".safetensors"}
MOST_LETTERS = 120
"""Length of the name of a file."""

DEEPEST, MOST_LISTED, MOST_VISITED = 6, 400, 20_000
"""Depth of folders, and numbers of files that are listed and visited."""


class Workspace:
    """A folder.

    Args:
        path: the folder; made if it does not exist.
        data: data set that trainings use, as `regard train --data` takes it.

    Raises:
        RegardError: the folder cannot be made, or there is no such data set.
    """

    def __init__(self, path: Path, data: str | None = None) -> None:
        if data is not None:
            check_source(data)
        make_folder(path)
        self.path, self.data = path.resolve(), data

    def locate(self, model: str | Path) -> str | Path:
        """The model as it was given, or its file in the workspace if only that exists."""
        return self.path / model if not Path(model).exists() and (self.path / model).exists() else model

    def find(self, name: str) -> Path:
        """Find a file or folder by its path in the workspace.

        Raises:
            RegardError: it is not there, or outside.
        """
        path = inside(self.path, name)
        if not (is_file(path) or is_folder(path)):
            raise RegardError(f"there is no {name!r:.200} in the workspace", file=self.path)
        return path

    def find_model(self, name: str) -> Path:
        """Find a file or run folder by its path in the workspace, whose overlays lie there too.

        Raises:
            RegardError: one of them is not there, or outside.
        """
        path = self.find(name)
        if path.suffix.lower() in GRAPHS:
            self.check_bases(read_text(path, MOST_YAML), path)
        for file in path.iterdir() if is_folder(path) else ():  # a run's weights
            inside(self.path, str(file.relative_to(self.path)))
        return path

    def find_weights(self, name: str) -> Path:
        """Find a file of weights, or a run folder with one, by its path in the workspace.

        Raises:
            RegardError: it is not there, outside, or has no weights.
        """
        path = self.find_model(name)
        if weights_of(path) is None:
            raise RegardError(f"{name!r:.200} is no file of weights", expected=one_of(SUFFIXES))
        return path

    def check_bases(self, text: str, file: Path) -> None:
        """Check that all files on which the text of a graph is based lie in the workspace.

        Args:
            text: of the graph.
            file: the file that it is, or would be, in.

        Raises:
            RegardError: one is outside, or no YAML.
        """
        for _ in range(MOST_BASES):
            document = parse_yaml(text, file)[0]
            base = document.get("base") if isinstance(document, dict) else None
            path = graph_file(Path(base_source(base, file.parent))) if isinstance(base, str) else None
            if path is None:  # a whole graph, or a name of the zoo
                return
            if not path.resolve().is_relative_to(self.path):
                raise RegardError(f"the base {str(base)!r:.200} lies outside the workspace", file=file)
            text, file = read_text(path, MOST_YAML), path

    def check_reads(self, run: str) -> None:
        """Check that all files which a run or study names, and would read when it goes on, lie in the workspace.

        Args:
            run: its folder, relative to the workspace.

        Raises:
            RegardError: one is outside, or what names them is damaged.
        """
        folder = self.find(run)
        config = read_json_mapping(folder / "run.json") if is_file(folder / "run.json") else {}
        plan: Any = config.get("data") and {"data": _mapping(config["data"]).get("source")}
        if not plan and is_file(folder / ASKED):
            asked = read_json_mapping(folder / ASKED)
            plan = {"recipe": _mapping(asked.get("settings")).get("recipe"), "data": asked.get("data")}
        if not plan and is_file(folder / PLAN):
            plan = parse_yaml(read_text(folder / PLAN, MOST_YAML), folder / PLAN)[0]
        elif not plan and is_file(folder / STUDY):
            plan = read_json_mapping(folder / STUDY).get("plan")
        named = [_mapping(plan).get(name) for name in ("base", "weights", "recipe", "data")]
        models = _mapping(plan).get("model")
        for source in (*named, *(models if isinstance(models, list) else ())):
            if source is not None and not self._is_inside(str(source)):
                what = f"{run!r:.200} reads {str(source)!r:.200}, which lies outside the workspace"
                raise RegardError(what, hint="continue it in a terminal, where you name its files")

    def _is_inside(self, source: str) -> bool:
        if source in (*zoo(), *RECIPES, self.data) or source.startswith(PREFIX):
            return True
        path = Path(source).resolve()
        if path.suffix.lower() in GRAPHS and is_file(path):
            self.check_bases(read_text(path, MOST_YAML), path)
        return path.is_relative_to(self.path)

    def models(self) -> list[str]:
        """List files that can hold a model, and run folders."""
        return self._listed(MODELS)

    def weights(self) -> list[str]:
        """List files of weights."""
        return self._listed(SUFFIXES)

    def images(self) -> list[str]:
        """List image files."""
        return self._listed(IMAGES)

    def videos(self) -> list[str]:
        """List video files."""
        return self._listed(FILMS)

    def read_image(self, name: str) -> Image:
        """Decode an image file.

        Raises:
            RegardError: it is outside, not there, or no image.
        """
        path = self.find(name)
        if path.suffix.lower() not in IMAGES:
            raise RegardError(f"{name!r:.200} is no image file", expected=one_of(IMAGES))
        return ImageFile(path).read()

    @cached_property
    def samples(self) -> dict[str, tuple[Sample, Mapping[int, str]]]:
        """Labelled images of the data set with its class names, by split and name; those for evaluation first.

        Raises:
            RegardError: there is no data set, or it cannot be read.
        """
        if self.data is None:
            return {}
        data = load_data(self.data)
        names, splits = dict(enumerate(data.names)), sorted(data.splits, key=lambda split: split == "train")
        found: dict[str, tuple[Sample, Mapping[int, str]]] = {}
        every = ((split, sample) for split in splits for sample in data.splits[split])
        for place, sample in islice(every, MOST_LISTED):
            found[unique_name(f"{place}/{Path(sample.image.name).name}", list(found))] = (sample, names)
        return found

    def read_sample(self, name: str) -> tuple[Image, Detections]:
        """Decode a labelled image of the data set; its labels are detections of score 1.

        Raises:
            RegardError: there is no such image.
        """
        if name not in self.samples:
            raise RegardError(f"there is no {name!r:.200} in the data set", file=self.data)
        sample, names = self.samples[name]
        pixels = sample.image.read()
        return pixels, labels_of(sample, pixels, names)

    def find_data(self, data: str) -> str:
        """Find a data set: that of the start where ``data`` is empty, drawn scenes, or a path in the workspace.

        Raises:
            RegardError: there is none, or it is outside.
        """
        data = data or self.data or ""
        if not data:
            raise RegardError("no data set is given", expected="a folder of the workspace, or synthetic:context")
        return data if data == self.data or data.startswith(PREFIX) else str(self.find(data))

    def save(self, bench: Bench, asked: SaveQuestion) -> str:
        """Write the open model in one of its forms; the path in the workspace is returned.

        Raises:
            RegardError: the name is outside or taken, or the form cannot express the model.
        """
        suffix = SUFFIX[asked.form]
        name = Path(asked.name).name
        if portable_name(name) != name or len(name) > MOST_LETTERS:
            raise RegardError(
                f"{name!r:.100} is no name for a file", hint="letters, digits, '.', '_' and '-' always are"
            )
        path = inside(self.path, asked.name if asked.name.endswith(suffix) else asked.name + suffix)
        if path.exists() and not asked.overwrite:
            raise RegardError(f"there is already a {path.name}", hint="choose another name, or overwrite it")
        if not is_folder(path.parent):
            raise RegardError("there is no such folder in the workspace", file=path.parent)
        state = bench.state
        if asked.form == "safetensors":
            save_detector(path, state.built)
        else:
            write_file(path, self._text(bench, asked, path))
        return path.relative_to(self.path).as_posix()

    def _text(self, bench: Bench, asked: SaveQuestion, path: Path) -> str:
        spec = bench.state.spec
        if asked.form == "yaml":
            return spec.to_yaml()
        if asked.form == "integers":
            return integer_yaml(spec, ungated=asked.ungated, file=path)
        base = self._base_name(bench, path.parent)
        if base not in zoo() and (path.parent / base).resolve() == path.resolve():
            raise RegardError(
                "the overlay would replace the graph that it is based on", hint="choose another name, or another form"
            )
        return overlay(bench.state.edits, base, bench.base.spec.nc)

    def _base_name(self, bench: Bench, folder: Path) -> str:
        """What an overlay in a folder can name as its base."""
        if bench.source in zoo():
            return bench.source
        if bench.source.endswith(GRAPHS):
            for path in (self.path / bench.source, Path(bench.source).absolute()):
                if is_file(path) and bench.base.text in ("", read_text(path, MOST_YAML)):
                    return Path(os.path.relpath(path, folder)).as_posix()
        name = stock_name(bench.base.spec)
        if name is None:
            raise RegardError(
                "the base is no graph of the model zoo and no YAML file, which an overlay needs",
                file=bench.source,
                hint="save the whole graph as YAML",
            )
        return name

    def _listed(self, suffixes: tuple[str, ...]) -> list[str]:
        found: list[str] = []
        for path in self._files():
            if path.suffix.lower() in suffixes:
                found.append(path.relative_to(self.path).as_posix())
                if len(found) == MOST_LISTED:
                    break
        return sorted(found)

    def _files(self) -> Iterator[Path]:
        """Files of the workspace; hidden folders and links are left out."""
        visited = 0
        for folder, folders, files in os.walk(self.path):
            depth = len(Path(folder).relative_to(self.path).parts)
            folders[:] = [] if depth >= DEEPEST else sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                visited += 1
                if visited > MOST_VISITED:
                    return
                if not Path(folder, name).is_symlink():
                    yield Path(folder, name)


def labels_of(sample: Sample, pixels: Image, names: Mapping[int, str]) -> Detections:
    """The labels of an image as detections of score 1."""
    size = np.array(pixels.shape[1::-1] * 2, np.float64)
    boxes = (cxcywh_to_xyxy(sample.boxes_cxcywh) * size).astype(np.float32)
    return Detections(boxes, np.ones(len(boxes), np.float32), sample.class_ids, names, pixels.shape[:2])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
