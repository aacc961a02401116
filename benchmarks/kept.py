"""Raw figures of a benchmark in one JSON file: each is written as soon as it is measured, and not measured again."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

import regard
from regard.profiling.latency import WARM_UP, latencies_in_turn
from regard.training.precision import bfloat16_products

Figures = dict[str, Any]


def thread_limits(threads: int) -> dict[str, str]:
    """The environment in which a process takes that many threads: empty for 0, its own default."""
    return {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL") if threads}


class Kept:
    """The figures in a file, and a way to add to them.

    Args:
        file: created if it does not exist.
        settings: what the figures depend on, in addition to the machine and the versions.

    Raises:
        SystemExit: the file's figures were measured with other settings, on another machine or in other versions.
    """

    def __init__(self, file: Path, settings: Mapping[str, Any]) -> None:
        self.file = file
        asked = {"settings": dict(settings), "machine": machine()}
        self.document: Figures = {"date": str(date.today()), **asked, "rows": {}}
        if file.is_file():
            self.document = json.loads(file.read_text())
            found = {key: self.document[key] for key in asked}
            if found != json.loads(json.dumps(asked)):
                raise SystemExit(f"{file} was measured with {found}, not {asked}: move it away or name another --out")

    @property
    def rows(self) -> dict[str, Figures]:
        """The figures by name."""
        return self.document["rows"]

    def once(self, name: str, measure: Callable[[], Figures]) -> Figures:
        """The figures of that name, measured and written now if they are not there."""
        if name not in self.rows:
            load = os.getloadavg()[0]
            self.rows[name] = measure() | {"load_before": round(load, 2)}
            print(name, json.dumps(self.rows[name])[:400], flush=True)
            write(self.file, json.dumps(self.document, indent=1) + "\n")
        return self.rows[name]


def write(file: Path, text: str) -> None:
    """Write a temporary file and rename it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.write_text(text)
    part.replace(file)


def machine() -> dict[str, str | int]:
    """What figures of time depend on, for any measurement."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "regard": regard.__version__,
    }


def processor() -> str:
    """The kind of processor, what it multiplies bfloat16 with where it can, and how many cores there are."""
    lower = "".join(f" with {name}" for name in bfloat16_products())
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}{lower}, {os.cpu_count()} cores"


def about(document: Mapping[str, Any]) -> str:
    """One line on where and when the figures of a document were measured, and how busy the machine was."""
    m = document["machine"]
    loads = [row["load_before"] for row in document["rows"].values()]
    cores = int(str(m["processor"]).split(", ")[1].split()[0])
    busy = ", so other work was running" if loads and median(loads) > cores + 0.5 else ""
    load = f"Load average before each measurement: {min(loads):.1f} to {max(loads):.1f}{busy}." if loads else ""
    versions = f"torch {m['torch']}, regard {m['regard']}"
    return f"{document['date']}, {m['processor']}, {m['threads']} threads, {versions}, no GPU used. {load}".strip()


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The paired ratios of two series that were measured in turn."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float]) -> str:
    """The median with the least and the greatest value."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def in_turn(functions: Sequence[Callable[[], object]], repeats: int, *, shared: bool) -> list[list[float]]:
    """Seconds of each function in each repeat, in which all run once; processor time if the machine is shared."""
    if not shared:
        return latencies_in_turn(functions, torch.device("cpu"), repeats)
    rounds = []
    with torch.inference_mode():
        for _ in range(WARM_UP + repeats):
            rounds.append([_processor_seconds(function) for function in functions])
    return [list(times) for times in zip(*rounds[WARM_UP:], strict=True)]


def _processor_seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began
