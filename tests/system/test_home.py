"""Where regard writes without being asked, and what the packages below it are kept from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.system.home import cache_folder, reject_planted_libraries


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


@pytest.mark.parametrize(
    "name", ["libcuda.so.1", "glibc-hwcaps/x86-64-v3/libcuda.so.1", "tls/x86_64/libnvidia-ml.so.1"]
)
def test_a_library_that_torch_would_load_from_the_working_folder_is_rejected(name: str, tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "x86_64").symlink_to(tmp_path)  # ends
    (tmp_path / "libcurl.so.4").touch()
    reject_planted_libraries(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(RegardError, match=r"libcuda\.so\.1|libnvidia-ml"):
        reject_planted_libraries(tmp_path)
    argv = [sys.executable, "-P", "-m", "regard", "--version"]
    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode == 2


def test_matplotlib_keeps_its_fonts_in_the_cache(tmp_path: Path) -> None:
    code = "import regard.visualize.plots, matplotlib; print(matplotlib.get_configdir())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MPL")}
    environment["REGARD_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "cache" / "matplotlib")
