"""Geometry of boxes: conversions and non-maximum suppression without torch, and the IoU that losses differentiate."""
