"""Moved to `regard.system.resources`."""

from regard.system.resources import available_cores as usable_cores
from regard.system.resources import available_memory

__all__ = ["free_mib", "usable_cores"]


def free_mib() -> float:
    """See `available_memory`, in MiB."""
    return available_memory() / 2**20
