"""Causes of a low AP. A cause is one function and one entry of ``CAUSES``; the likeliest come first.

A function returns what it found, or None, and raises `NotChecked` where the run does not allow it to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from regard.diagnosis.case import Case
from regard.diagnosis.causes.classes import class_order
from regard.diagnosis.causes.comparison import changed_settings, seed_noise, unexplained_drop
from regard.diagnosis.causes.data import duplicates, labels, near_duplicates, same_images
from regard.diagnosis.causes.graph import closed_gate, wiring
from regard.diagnosis.causes.schedule import (
    diverged,
    early_stop,
    few_updates,
    learning_rate,
    no_ap,
    still_rising,
    warm_up,
)
from regard.diagnosis.causes.sizes import anchors, small_boxes
from regard.diagnosis.causes.weights import start_weights
from regard.diagnosis.findings import Finding

Cause = Callable[[Case], Finding | None]

COMPARISONS = ("seed_noise", "changed_settings", "unexplained_drop")
"""Causes that only a second run shows."""

CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        "diverged": diverged,
        "wiring": wiring,
        "class_order": class_order,
        "labels": labels,
        "start_weights": start_weights,
        "no_ap": no_ap,
        "warm_up": warm_up,
        "learning_rate": learning_rate,
        "few_updates": few_updates,
        "early_stop": early_stop,
        "still_rising": still_rising,
        "closed_gate": closed_gate,
        "anchors": anchors,
        "small_boxes": small_boxes,
        "same_images": same_images,
        "duplicates": duplicates,
        "near_duplicates": near_duplicates,
        "seed_noise": seed_noise,
        "changed_settings": changed_settings,
        "unexplained_drop": unexplained_drop,
    }
)
