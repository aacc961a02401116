"""In which precision a network is trained, and what "auto" means on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

Precision = Literal["32", "bf16", "fp16"]

FABRIC: Mapping[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
"""What Lightning Fabric calls them. Mixed: weights, their updates and the loss stay in float32."""


def resolve(precision: Precision | Literal["auto"], accelerator: str) -> Precision:
    """Return the precision to train in.

    Args:
        precision: "auto" means bfloat16 where the hardware multiplies matrices in it (GPUs from Ampere on, processors
            with AMX), else float32.
        accelerator: "cpu", "cuda" or "mps".
    """
    if precision != "auto":
        return precision
    if accelerator == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    return "bf16" if accelerator == "cpu" and _capabilities().get("amx_bf16", False) else "32"


def _capabilities() -> Mapping[str, Any]:
    """Return what the processor can do; nothing where torch is too old to tell."""
    ask = getattr(torch.cpu, "get_capabilities", dict)
    found: Mapping[str, Any] = ask()
    return found
