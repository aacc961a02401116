"""Moved to `regard.system.allocator`."""

from regard.system.allocator import keep_freed_memory

__all__ = ["keep_freed_memory"]
