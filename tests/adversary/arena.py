"""Running the command ``regard`` on hostile input, and judging what it did."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

SECONDS, GIGABYTES = 20.0, 4.0
"""What a command may take at most on hostile input."""

SERVER = Path(__file__).with_name("arena_server.py")
TIME_IS_UP = -1000
ESCAPE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    argv: tuple[str, ...]
    code: int
    output: str
    seconds: float
    gigabytes: float

    @property
    def fault(self) -> str | None:
        """What is wrong with it: a traceback, a crash, a hang, too much memory, or output that a terminal obeys."""
        if self.code == TIME_IS_UP:
            return f"hangs: over {SECONDS:.0f} s"
        if self.code < 0:
            return f"killed by signal {-self.code}"
        if "Traceback (most recent call last)" in self.output:
            return "traceback"
        if self.gigabytes > GIGABYTES or "out of memory" in self.output:
            return f"memory: {self.gigabytes:.1f} GB"
        if found := ESCAPE.search(self.output):
            return f"prints {found[0]!r}"
        if self.code == 1 and self.argv[:1] == ("data",) and re.search("loses? something", self.output):
            return None  # what it lists is its result
        if self.code == 1 and self.argv[:1] == ("predict",) and "skipped, for the reasons above" in self.output:
            return None
        if self.argv[:1] == ("lint",) and self.code in (0, 1, 2):
            return None  # findings are its result, and a file that cannot be read is one
        if self.code not in (0, 2):
            return f"exit code {self.code}"
        if self.code == 2 and "rror" not in self.output:
            return "exit code 2 without an error"
        return None

    def __str__(self) -> str:
        last = "\n".join(self.output.strip().splitlines()[-8:])
        return f"regard {' '.join(self.argv)}: {self.fault or 'fine'} (code {self.code}, {self.seconds:.1f} s)\n{last}"


class Arena:
    """A process that runs commands in forks of itself; see ``arena_server``."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.server = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", **environment},
        )

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def run(self, argv: tuple[str, ...], folder: Path, seconds: float = SECONDS) -> Outcome:
        """Run ``regard`` with these arguments in a folder."""
        assert self.server.stdin
        assert self.server.stdout
        request = {"argv": argv, "cwd": str(folder), "seconds": seconds, "gigabytes": GIGABYTES + 1}
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        line = self.server.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with {self.server.wait()}")
        return Outcome(argv, **json.loads(line))
