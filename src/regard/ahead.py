"""Moved to `regard.system.prefetch`."""

from regard.system.prefetch import prefetch as ahead
from regard.system.prefetch import prefetch_map as map_ahead

__all__ = ["ahead", "map_ahead"]
