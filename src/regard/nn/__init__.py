"""Layers: what a row of a model graph can be made of.

``regard.nn.attention.ATTENTION`` has the attention modules by name.
"""
