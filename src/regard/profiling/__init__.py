"""What a detector's attention costs in time, memory and FLOPs, and whether a cheaper variant could matter."""
