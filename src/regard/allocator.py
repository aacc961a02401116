"""What happens to memory that is given back. Set once by a program for itself, never by importing the package."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of ``mallopt(3)``, as glibc's malloc.h numbers them."""
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next request of this process, and return whether that was possible.

    Otherwise it returns large blocks, such as feature maps, to the kernel as soon as they are freed, and every training
    step, every image, gets them anew: page by page, each filled with zeros first.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none that counts
    if mallopt is None:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER)) and bool(mallopt(M_MMAP_MAX, 0))
