"""Fuzzing from the command line: ``python tests/adversary/fuzz.py 1000 [--seed N] [--kind NAME] [--keep FOLDER]``.

Prints each fault with the seed that gives it again, and figures at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from arena import Arena, Outcome
from kinds import KINDS as FIRST_KINDS
from kinds import MARKER, Kind
from later_kinds import KINDS as LATER_KINDS

from regard.system.locks import LOCK
from regard.system.outputs import LEDGER

KINDS: Mapping[str, Kind] = {**FIRST_KINDS, **LATER_KINDS}
"""All kinds of files, by name."""


@dataclass(frozen=True)
class Case:
    """One damaged input, what was done with it, and the fault if there is one."""

    kind: str
    seed: int
    outcome: Outcome
    fault: str | None

    def __str__(self) -> str:
        return f"kind {self.kind}, seed {self.seed}: {self.fault}\n{self.outcome}"


def make_corpus(folder: Path, *, study: bool = False) -> None:
    """Make the sound files, in a separate process."""
    script = Path(__file__).with_name("corpus.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, str(script), str(folder), *(["--study"] if study else [])]
    subprocess.run(argv, check=True, env=environment, stdout=subprocess.DEVNULL)


def run_case(arena: Arena, kind: str, seed: int, corpus: Path, folder: Path) -> Case:
    """Damage files of a kind in an empty folder, and run the command that reads them."""
    rng = random.Random(f"{kind} {seed}")
    argv = KINDS[kind](rng, folder, corpus)
    outcome = arena.run(argv, folder)
    fault = outcome.fault
    if (folder / MARKER).exists():
        fault = "executed code"
    left = [path for path in folder.rglob(".*") if path.name not in (".output", LOCK, LEDGER)]
    return Case(kind, seed, outcome, fault or (f"left {left[0].relative_to(folder)}" if left else None))


def run_cases(
    count: int, first: int, kinds: Sequence[str], corpus: Path, scratch: Path, cache: Path, keep: Path | None = None
) -> Generator[Case, None, None]:
    """Run ``count`` cases from seed ``first`` on, the kinds in turn; folders with faults are kept in ``keep``."""
    with Arena({"REGARD_CACHE": str(cache), "REGARD_BACKEND": "torch"}) as arena:
        for i in range(count):
            folder = scratch / str(i)
            folder.mkdir(parents=True)
            case = run_case(arena, kinds[i % len(kinds)], first + i // len(kinds), corpus, folder)
            if case.fault and keep:
                shutil.move(folder, keep / f"{case.kind}-{case.seed}")
            else:
                shutil.rmtree(folder)
            yield case


def main() -> None:
    """Fuzz, print faults as they are found, and figures at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--corpus", type=Path, help="made there if it is empty")
    asked = parser.parse_args()
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
    kinds = asked.kind or list(KINDS)
    faults: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    most_seconds = most_gigabytes = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        corpus = asked.corpus or Path(temporary, "corpus")
        if not (corpus / "run").is_dir():
            corpus.mkdir(parents=True, exist_ok=True)
            make_corpus(corpus, study="studies" in kinds)
        scratch = Path(temporary, "cases")
        cases = run_cases(asked.count, asked.seed, kinds, corpus, scratch, Path(temporary, "cache"), asked.keep)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):  # the figures so far
            for case in cases:
                codes[case.outcome.code] += 1
                most_seconds = max(most_seconds, case.outcome.seconds)
                most_gigabytes = max(most_gigabytes, case.outcome.gigabytes)
                if case.fault:
                    faults[case.kind] += 1
                    print(case, flush=True)
                    print("-" * 80, flush=True)
        cases.close()
    found = f"{sum(faults.values())} faults {dict(faults)}"
    print(f"{sum(codes.values())} cases of {len(kinds)} kinds from seed {asked.seed}: {found}")
    print(f"exit codes {dict(codes)}; at most {most_seconds:.1f} s and {most_gigabytes:.2f} GB")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
