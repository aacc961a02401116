"""A part of a benchmark in a separate process, and how much memory that took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULT = "RESULT "


def in_fresh_process(
    script: Path, task: Mapping[str, Any], arguments: Sequence[str], environment: Mapping[str, str]
) -> Any:
    """Run ``script ARGUMENTS --task JSON``, which prints its result by ``report``, and return that.

    Raises:
        RuntimeError: the process failed; what it wrote is in the message.
    """
    command = [sys.executable, str(script), *arguments, "--task", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | dict(environment))
    found = [line for line in done.stdout.splitlines() if line.startswith(RESULT)]
    if done.returncode or not found:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return json.loads(found[-1].removeprefix(RESULT))


def report(result: Mapping[str, Any]) -> None:
    """Print a result for the process that started this one."""
    print(f"{RESULT}{json.dumps(result)}", flush=True)


def memory(what: str) -> float:
    """The resident memory of this process in MB: "VmRSS" now, "VmHWM" the most so far.

    Not ``ru_maxrss``, which a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(what)).split()[1]) * 1024 / 1e6


def forget_peak() -> None:
    """Reset "VmHWM" to what is resident now, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("the peak of memory counts from the start of the process", file=sys.stderr)
