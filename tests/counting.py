"""Counting products, as tests of what attention costs do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def products(run: Callable[[], object]) -> int:
    """Return the operations of matrix products and convolutions that a call makes.

    Attention is written out meanwhile: not every version of torch counts its fused kernel on the processor.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
