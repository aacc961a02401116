"""Layers: what a row of a model graph can be made of."""
