"""Where regard writes without being asked, and what the packages below it are kept from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regard.system.home import cache_folder


def test_without_a_home_folder_nothing_is_written_into_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REGARD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom the system does not know
    if sys.platform.startswith("linux"):
        with pytest.raises(OSError, match="REGARD_CACHE"):
            cache_folder()


def test_settings_in_the_working_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")  # runs LaTeX
    code = "import {}, matplotlib; print(matplotlib.rcParams['text.usetex'], matplotlib.matplotlib_fname())"
    printed = [
        subprocess.run(
            [sys.executable, "-P", "-c", code.format(module)], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for module in ("regard.visualize.plots", "regard.ablate.report", "matplotlib")
    ]
    assert [line.split()[0] for line in printed] == ["False", "False", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a library looked for in the working folder")
@pytest.mark.parametrize(
    "program",
    [
        ("-c", "import regard.__main__, torch, os; print(os.getcwd())"),
        ("-m", "regard.ablate.processes"),
        ("-m", "spawned"),
    ],
)
def test_torch_is_imported_while_the_working_folder_is_another(program: tuple[str, str], tmp_path: Path) -> None:
    packages, here = tmp_path / "packages", tmp_path / "here"
    (packages / "torch").mkdir(parents=True)
    here.mkdir()
    (packages / "torch" / "__init__.py").write_text("import os; print(os.getcwd(), flush=True)")
    (packages / "spawned.py").write_text(
        "import multiprocessing, runpy, sys\n"
        "def work():\n    import torch\n"
        "if __name__ == '__main__':\n"
        "    import spawned\n"
        "    sys.argv = ['regard', '--version']\n"
        "    sys.modules['__main__'].__file__ = runpy.importlib.util.find_spec('regard.__main__').origin\n"
        "    __spec__ = None  # as regard.__main__ does\n"
        "    process = multiprocessing.get_context('spawn').Process(target=spawned.work)\n"
        "    process.start()\n    process.join()\n"
    )
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    argv = [sys.executable, "-P", *program]
    done = subprocess.run(argv, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "/", done.stderr
    assert program[0] == "-m" or done.stdout.split("\n")[1] == str(here)


def test_matplotlib_keeps_its_fonts_in_the_cache(tmp_path: Path) -> None:
    code = "import regard.visualize.plots, matplotlib; print(matplotlib.get_configdir())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MPL")}
    environment["REGARD_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "cache" / "matplotlib")
