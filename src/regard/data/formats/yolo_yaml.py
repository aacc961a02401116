"""The data.yaml of YOLO: finding it, its keys and its class names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regard.data.dataset import Problem
from regard.data.files import SPLITS, split_in, split_named
from regard.data.paths import resolve
from regard.data.text import read_text_of_any_system
from regard.errors import RegardError
from regard.system.files import is_file
from regard.system.loaders import MOST_YAML, LineOf, parse_yaml

MOST_CLASSES = 100_000
STANDARD = ("data.yaml", "data.yml")
KNOWN_KEYS = frozenset(
    (
        *(*SPLITS, "path", "names", "nc", "kpt_shape", "flip_idx", "kpt_names", "skeleton", "task", "minival"),
        *("download", "roboflow", "license", "licence", "version", "author", "date", "description", "url", "info"),
    )
)
"""Keys that are used, or that change nothing in the images, boxes and names."""


def read_config(config: Path) -> tuple[dict[str, Any], LineOf, list[Problem]]:
    """Read a data.yaml; splits under other words, such as ``valid``, get their usual key, and a problem names the rest.

    Raises:
        RegardError: it is not YAML, or no map.
    """
    text, note = read_text_of_any_system(config, MOST_YAML)
    options, lines = parse_yaml(text, config)
    if not isinstance(options, dict):
        raise RegardError("there are no settings", file=config, expected="a map with names, train and val")
    problems = [Problem("file in another encoding", str(config), note, "used")] if note else []
    options, line_of = {str(key): value for key, value in options.items()}, dict(lines)
    unused = []
    for key, value in list(options.items()):
        split = split_named(key)
        if key in KNOWN_KEYS or value in (None, "", []) or (key == "channels" and value == 3):
            continue
        line = lines.get((key, -1))
        if split and not options.get(split):
            options[split] = value
            line_of[split, -1] = line or 1
            problems.append(
                Problem("split under another key", str(config), f"{key}: {value}", f"read as {split}", line)
            )
        elif split_in(key) and isinstance(value, str | list):
            done = "its images are left out"
            problems.append(Problem("unknown split", str(config), f"{key}: {value}", done, line, lost=True))
        else:
            unused.append(f"{key}: {value!r:.40}")
    if unused:
        problems.append(Problem("unknown keys", str(config), ", ".join(unused), "not used"))
    return options, line_of, problems


def find_yaml(folder: Path) -> Path | None:
    """Find the folder's data.yaml, or the only other YAML file in it that describes a data set."""
    for name in STANDARD:
        if is_file(folder / name):
            return folder / name
    return _only(folder, [path for path in sorted(folder.glob("*.y*ml")) if _settings(path)])


def find_yaml_below(folder: Path) -> Path | None:
    """Find the only data.yaml one or two folders down, as in unpacked archives, or else the only other such file.

    Raises:
        RegardError: there are several.
    """
    below = [path for pattern in ("*/*.y*ml", "*/*/*.y*ml") for path in sorted(folder.glob(pattern))]
    below = [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    standard = [path for path in below if path.name in STANDARD and _settings(path) != {}]
    return _only(folder, standard or [path for path in below if _settings(path)])


def _only(folder: Path, found: list[Path]) -> Path | None:
    if len(found) > 1:
        listed = ", ".join(path.relative_to(folder).as_posix() for path in found)
        what = f"the folder contains several data sets: {listed}"
        raise RegardError(what, file=folder, hint="name the one to use")
    return found[0] if found else None


def other_yamls(config: Path, options: Mapping[str, Any]) -> list[Problem]:
    """Report the other YAML files of a folder that describe other classes or splits."""
    problems = []
    for other in sorted(config.parent.glob("*.y*ml")):
        settings = _settings(other) if other != config else None
        if settings and any(settings.get(key) != options.get(key) for key in ("names", *SPLITS)):
            what = "describes a data set with other classes or splits"
            problems.append(Problem("other YAML file", str(other), what, f"{config.name} used instead"))
    return problems


def _settings(config: Path) -> dict[str, Any] | None:
    """Settings of a YAML file that names classes and a split; {} if it does not, None if it cannot be read."""
    try:
        options = read_config(config)[0]
    except RegardError:
        return None
    return options if "names" in options and any(split in options for split in SPLITS) else {}


def class_names(
    options: Mapping[str, Any], config: Path, lines: LineOf, problems: list[Problem], first_class: int
) -> tuple[str, ...]:
    """Read the class names in the order of their ids, which in a map may begin with 0 or ``first_class``."""
    names = options.get("names")
    nc = options.get("nc")
    nc = int(nc) if isinstance(nc, str) and nc.isdecimal() else nc
    if isinstance(names, str):
        names = _names_in_text(names, config)
    if isinstance(names, dict):
        names = _names_in_map(names, config, lines.get(("names", -1)), first_class)
    if names is None and isinstance(nc, int) and 0 < nc < MOST_CLASSES:
        names = numbered_names(nc)
        found = f"nc: {nc}, but no names"
        problems.append(Problem("no class names", str(config), found, f"called {names[0]} to {names[-1]}"))
    if not isinstance(names, list) or not names:
        raise RegardError(
            "there are no class names", file=config, expected="names: [cat, dog], or a map {0: cat, 1: dog}"
        )
    odd = next((name for name in names if isinstance(name, bool) or not isinstance(name, str | int | float)), "")
    if odd != "":
        line = lines.get(("names", -1))
        expected = "words; without quotes YAML reads yes, no, on and off as true and false"
        raise RegardError(f"a class is called {odd!r}", file=config, line=line, expected=expected)
    if nc is not None and nc != len(names):
        raise RegardError(f"nc is {nc}, but there are {len(names)} names", file=config, line=lines.get(("nc", -1)))
    return tuple(str(name) for name in names)


def _names_in_map(names: Mapping[Any, Any], config: Path, line: int | None, first_class: int) -> list[Any]:
    keys = {int(key) if isinstance(key, str) and key.isdecimal() else key: name for key, name in names.items()}
    starts = [
        first for first in dict.fromkeys((0, first_class, 1)) if set(keys) == set(range(first, first + len(keys)))
    ]
    if not starts or starts[0] not in (0, first_class):
        raise RegardError(
            f"the keys of names are {', '.join(map(str, names))}",
            file=config,
            line=line,
            expected=f"0 to {len(names) - 1}, each once",
            hint="if class ids in the label files start at 1, too, use --first-class 1" if starts else None,
        )
    return [keys[starts[0] + i] for i in range(len(keys))]


def _names_in_text(text: str, config: Path) -> list[Any]:
    """Names in a file with one per line, or in the text itself: a list in YAML, or separated by commas."""
    located = resolve(text, [config.parent, Path()]) if text.strip() else None
    if located is not None and is_file(located.path):
        return read_names(located.path)[0]
    if text.strip().startswith("["):
        names = parse_yaml(text, config)[0]
        return names if isinstance(names, list) else []
    return [name.strip().strip("'\"") for name in text.split(",") if name.strip()]


def read_names(file: Path) -> tuple[list[str], str]:
    """Read a file with one class name per line; the note is that of `read_text_of_any_system`."""
    text, note = read_text_of_any_system(file)
    return [line.strip() for line in text.splitlines() if line.strip()], note


def numbered_names(count: int) -> list[str]:
    """Names for classes without any: class0, class1, ..."""
    return [f"class{index}" for index in range(count)]
