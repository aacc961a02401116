"""Makes the benchmarks' scripts importable, as they are to each other when one of them is run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
