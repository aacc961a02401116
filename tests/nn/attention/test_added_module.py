"""A new attention module is one file and one row: one is added to a copy of the package, and all tests take it up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ADDED, NAME = HERE / "added" / "row.py", "RowAttention"

USE = f"""
import regard
from make_catalogue import row

model = regard.load("odd-one-out")
edited = regard.insert(model, "{NAME}", after="p4")
report = regard.cost(edited, imgsz=64, repeats=1)
assert [bound.row for bound in report.bounds] == ["p4.rowattention"], report
assert report.bounds[0].by_flops > 1
assert row("{NAME}")[0] == "`{NAME}`"
assert "4 * C * N * W` = 190.1 M" in row("{NAME}")[5]
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables by which Python finds a copy of the package with the module in it: one more file, two more lines."""
    source = tmp_path_factory.mktemp("copy") / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    package = source / "regard" / "nn" / "attention"
    shutil.copy(ADDED, package)
    table = package / "__init__.py"
    text = table.read_text()
    text = text.replace(
        "from regard.nn.attention.se ", f"from regard.nn.attention.row import {NAME}\nfrom regard.nn.attention.se "
    )
    table.write_text(text.replace('        "SE": SE,\n', f'        "SE": SE,\n        "{NAME}": {NAME},\n'))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (source, ROOT / "docs", ROOT / "tests"))),
        "OMP_NUM_THREADS": "1",
    }


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_it_is_costed_bounded_gated_and_listed(environment: dict[str, str]) -> None:
    run(environment, "-c", USE)


def test_the_tests_of_all_modules_take_it_up(environment: dict[str, str]) -> None:
    """Contract, map, costs and export to ONNX and OpenVINO, with the formulas of its card."""
    files = [str(HERE / f"test_{what}.py") for what in ("contract", "attention_maps", "attention_costs")]
    export = f"{HERE / 'test_attention_export.py'}::test_exported[{NAME}]"
    reported = run(environment, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", *files, export, "-k", NAME)
    assert int(reported.split(" passed")[0].split()[-1]) > 40
