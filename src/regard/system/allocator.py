"""Reuse of freed memory by the C library. Only the command line sets it; importing the package does not."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of ``mallopt(3)``, as glibc's malloc.h numbers them."""
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next request of this process; False where that is not possible.

    Otherwise it returns large blocks, such as feature maps, to the kernel as soon as they are freed, and every training
    step and every image requests them again: page by page, each filled with zeros first.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none that counts
    if mallopt is None:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER)) and bool(mallopt(M_MMAP_MAX, 0))
