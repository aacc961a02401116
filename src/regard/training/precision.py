"""In which precision a network is trained, and what "auto" means on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from regard.errors import RegardError

Precision = Literal["32", "bf16", "fp16"]

FABRIC: Mapping[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
"""What Lightning Fabric calls them. Mixed: weights, their updates and the loss stay in float32."""
BFLOAT16_PRODUCTS = ("amx_bf16", "avx512_bf16")
"""What processors call their instructions that multiply in bfloat16, as ``torch.cpu.get_capabilities`` names them.

A training step of yolov5n is 1.5 times as fast with AVX512-BF16 as in float32, and nine times as slow without either.
"""


def resolve(precision: Precision | Literal["auto"], accelerator: str) -> Precision:
    """Choose the precision for training.

    Args:
        precision: "auto" means bfloat16 where the hardware multiplies matrices in it (GPUs from Ampere on, processors
            with AMX or AVX512-BF16), else float32.
        accelerator: "cpu", "cuda" or "mps".

    Raises:
        RegardError: float16 on a CPU.
    """
    if precision == "fp16" and accelerator == "cpu":
        raise RegardError("a CPU does not train in fp16", expected="bf16, 32 or auto")
    if precision != "auto":
        return precision
    if accelerator == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    return "bf16" if accelerator == "cpu" and bfloat16_products() else "32"


def bfloat16_products() -> list[str]:
    """Find which of ``BFLOAT16_PRODUCTS`` this processor supports."""
    found = _capabilities()
    return [name for name in BFLOAT16_PRODUCTS if found.get(name, False)]


def _capabilities() -> Mapping[str, Any]:
    """Capabilities of the processor; empty if torch is too old to report them."""
    ask = getattr(torch.cpu, "get_capabilities", dict)
    found: Mapping[str, Any] = ask()
    return found
