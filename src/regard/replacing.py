"""Moved to `regard.system.files`."""

from regard.system.files import atomic_write as replacing

__all__ = ["replacing"]
