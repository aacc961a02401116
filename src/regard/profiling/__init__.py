"""Time, memory and FLOPs of a detector's attention, and whether a cheaper variant could matter."""

from regard.nn.counter import Cost, count, count_on_map, forward_without_mixing

__all__ = ["Cost", "count", "count_on_map", "forward_without_mixing"]
