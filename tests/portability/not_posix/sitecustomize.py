"""Take from Python, in every process that has this folder on its path, what Windows does not have."""

import multiprocessing
import os
import signal
import sys

for module in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty"):
    sys.modules[module] = None  # type: ignore[assignment]
ABSENT = (
    "fork",
    "forkpty",
    "getuid",
    "geteuid",
    "getgid",
    "getpgid",
    "killpg",
    "mkfifo",
    "register_at_fork",
    "sched_getaffinity",
    "sched_setaffinity",
    "setsid",
    "sysconf",
    "wait",
    "waitid",
)
for name in ABSENT:
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGCHLD", "SIGHUP", "SIGALRM", "SIGUSR1"):
    if hasattr(signal, name):
        delattr(signal, name)
multiprocessing.set_start_method("spawn")
