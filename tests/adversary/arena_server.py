"""Runs the command ``regard`` many times in forked children of one process that has everything imported.

Reads one JSON object per line, {"argv", "cwd", "seconds", "gigabytes"}, and writes one, {"code", "output", "seconds",
"gigabytes"}; the code is negative where a signal ended the child, and -1000 where the time was up. Time in which other
processes had the processors does not count. A child serves a number of commands, with its memory limited, before the
next replaces it.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

COMMANDS_PER_CHILD = 40
TIME_IS_UP = -1000


def serve() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _import_everything()
    child = None
    for line in sys.stdin:
        if child is None:
            child = Child()
        answer = child.run(json.loads(line))
        if child.is_spent(answer):
            child.stop()
            child = None
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    if child:
        child.stop()


def _import_everything() -> None:
    warnings.simplefilter("ignore")
    import pkgutil

    import regard

    for module in pkgutil.walk_packages(regard.__path__, "regard."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
    for name in ("torch", "onnxruntime", "PIL.Image", "torch.onnx"):
        __import__(name)


class Child:
    """A forked process that runs one command after the other."""

    def __init__(self) -> None:
        requests, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        self.served = 0
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.requests)
            os.close(self.answers)
            os.setsid()
            try:
                _work(requests, answers)
            finally:
                os._exit(0)
        os.close(requests)
        os.close(answers)

    def run(self, request: dict) -> dict:
        """Run one command, and kill it when its time is up."""
        self.served += 1
        start = time.monotonic()
        os.write(self.requests, json.dumps(request).encode() + b"\n")
        output = Path(request["cwd"], ".output")
        before, ready, left = _waited(self.pid), [], request["seconds"]
        while left > 0 and not ready:
            ready, _, _ = select.select([self.answers], [], [], left)
            left = request["seconds"] + _waited(self.pid) - before - (time.monotonic() - start)
        if not ready:
            os.kill(self.pid, signal.SIGUSR1)  # writes where it hangs
            time.sleep(0.2)
            code = TIME_IS_UP
        elif data := os.read(self.answers, 65536):
            return json.loads(data)
        else:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.pid = 0
        text = output.read_text(errors="replace") if output.exists() else ""
        return {"code": code, "output": text, "seconds": time.monotonic() - start, "gigabytes": 0.0}

    def is_spent(self, answer: dict) -> bool:
        """Whether the next command needs another process."""
        return self.served >= COMMANDS_PER_CHILD or answer["code"] < 0 or answer["gigabytes"] > 2

    def stop(self) -> None:
        """End the process and its children."""
        if self.pid:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.requests)
        os.close(self.answers)


def _work(requests: int, answers: int) -> None:
    for line in os.fdopen(requests):
        request = json.loads(line)
        os.write(answers, json.dumps(_answer(request)).encode())


def _answer(request: dict) -> dict:
    os.chdir(request["cwd"])
    output = os.open(".output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0, closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0, closefd=False), write_through=True)
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    faulthandler.enable(file=sys.stderr)
    _limit_memory(request["gigabytes"])
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    sys.argv = ["regard", *request["argv"]]
    from regard.__main__ import main

    start, waited, code = time.monotonic(), _waited(os.getpid()), 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
        code = 70
    seconds = time.monotonic() - start - (_waited(os.getpid()) - waited)
    text = Path(".output").read_bytes()[-20_000:].decode(errors="backslashreplace")
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 2**20
    return {"code": code, "output": f"{text[:2000]}{text[2000:][-8000:]}", "seconds": seconds, "gigabytes": peak}


def _waited(pid: int) -> float:
    """Seconds in which a process was ready and had no processor, as on a machine with other work; 0 if unknown."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _limit_memory(gigabytes: float) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    most = int(used + gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


if __name__ == "__main__":
    serve()
