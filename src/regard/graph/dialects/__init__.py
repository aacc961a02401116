"""File formats of model graphs: each module reads one form of YAML into a ``ModelSpec`` and writes it back.

The rest of the package works on ``ModelSpec`` only and does not know from which form a graph was read.
"""
