"""Scripts of the repository that are no part of the package, as modules."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_script(path: str) -> ModuleType:
    """Import a file by its path from the root of the repository, without running its `main`."""
    if (folder := str((ROOT / path).parent)) not in sys.path:
        sys.path.append(folder)  # where scripts find each other, as they do when run
    spec = spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
