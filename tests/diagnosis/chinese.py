"""Which words of a text in Chinese are English, and which may be."""

from __future__ import annotations

import re

WORDS = {"regard", "AP", "AP50", "epoch", "epochs", "train", "val", "warm-up", "nan", "autoanchor", "data", "check"}
WORDS |= {"lint", "insert", "convert", "SE", "gate", "p3", "stride", "anchors", "nominal", "batch", "inf"}
WORDS |= {"adamw", "sgd", "float32", "patience", "Conv", "gatedse", "yolov5n"}
"""Names and terms that are the same in Chinese."""


def english_in(text: str) -> set[str]:
    """Words of a text in Chinese that are neither quoted, paths, options nor settings."""
    plain = re.sub(r"'[^']*'|`[^`]*`|\S*/\S*|--\S+|\w+_\w+|\w+\.\w+", "", text)
    return set(re.findall(r"[A-Za-z][\w-]+", plain, re.ASCII))
