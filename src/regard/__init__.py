"""Attention anywhere in a YOLOv5-class detector, by name."""
