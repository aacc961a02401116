"""Take from Python, in every process that has this folder on its path, what Windows does not have."""

import builtins
import multiprocessing
import os
from typing import Any

import platformdirs  # noqa: F401 - its part for this system, which a real Windows would not import, asks for a user's id

POSIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty"}
import_module = builtins.__import__


def without_posix(name: str, globals: Any = None, *rest: Any, **more: Any) -> Any:
    """Import, but nothing of POSIX for this project; the Linux builds of other packages need it themselves."""
    if name in POSIX_ONLY and str((globals or {}).get("__name__", "")).split(".")[0] in ("regard", "__main__"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return import_module(name, globals, *rest, **more)


builtins.__import__ = without_posix
ABSENT = (
    "fork",
    "forkpty",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getpgid",
    "killpg",
    "mkfifo",
    "sched_getaffinity",
    "sched_setaffinity",
    "setsid",
    "wait",
    "waitid",
)
for name in ABSENT:
    if hasattr(os, name):
        delattr(os, name)
if hasattr(os, "process_cpu_count"):
    os.process_cpu_count = os.cpu_count  # Python 3.13's own asks sched_getaffinity where the system has it
os.environ.setdefault("USERNAME", "someone")  # which Windows sets, and getpass asks for
multiprocessing.set_start_method("spawn")
