"""File formats of model graphs: each module reads one form of YAML into a ``ModelSpec`` and writes it back.

The rest of the package works on ``ModelSpec`` only and does not depend on the form that a graph was read from.
"""
