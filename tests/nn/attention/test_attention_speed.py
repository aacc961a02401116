"""Which kernels run, and how far memory grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from catalogue import build, every_module
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from regard.nn.attention import ATTENTION
from regard.nn.attention.position import POSITIONS
from regard.nn.attention.self_attention import MultiHeadSelfAttention, SelfAttention

FUSED, WRITTEN_OUT = "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_attention_math"


def kernels(module: torch.nn.Module, x: Tensor) -> set[str]:
    """Return which forms of ``scaled_dot_product_attention`` run, forward and, in training, backward."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler, torch.set_grad_enabled(module.training):
        y = module(x)
        if module.training:
            y.sum().backward()
    return {event.key for event in profiler.key_averages()} & {FUSED, WRITTEN_OUT, f"{FUSED}_backward"}


def expected(training: bool) -> set[str]:
    return {FUSED, f"{FUSED}_backward"} if training else {FUSED}


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("training", [False, True])
def test_the_fused_kernel_runs(positions: str, training: bool) -> None:
    module = MultiHeadSelfAttention(16, pos_embed=positions).train(training)
    x = torch.randn(1, 16, 40, 40)  # N = 1600
    learned_bias = positions in ("relative", "log_cpb") and training  # whose gradient the kernel does not give
    assert kernels(module, x) == ({WRITTEN_OUT} if learned_bias else expected(training))


@pytest.mark.parametrize("key_channels", [None, 4, 24])
@pytest.mark.parametrize("training", [False, True])
def test_the_fused_kernel_runs_for_one_head(key_channels: int | None, training: bool) -> None:
    module = SelfAttention(16, key_channels).train(training)
    assert kernels(module, torch.randn(1, 16, 40, 40)) == expected(training)


@pytest.mark.parametrize("layout", ["channels_last", "strided"])
def test_the_fused_kernel_runs_for_any_layout(layout: str) -> None:
    x = torch.randn(1, 16, 40, 80)
    given = x.to(memory_format=torch.channels_last) if layout == "channels_last" else x[..., ::2]
    assert kernels(MultiHeadSelfAttention(16).eval(), given) == {FUSED}


@every_module
@pytest.mark.parametrize("training", [False, True])
def test_no_module_is_written_out_without_a_word(name: str, training: bool) -> None:
    module = build(name, dtype=torch.float32).train(training)
    position = getattr(module, "position", None)
    if training and position is not None and position.on_scores((1, 1)) is not None:
        return
    assert WRITTEN_OUT not in kernels(module, torch.randn(1, 16, 40, 40, requires_grad=training))


def test_the_profiler_would_tell() -> None:
    """Queries that a 1 x 1 convolution gives have another layout, and the kernel is left without a word."""

    class Careless(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            q = x.flatten(2).mT[:, None]
            return F.scaled_dot_product_attention(q, q, q)

    assert kernels(Careless().eval(), torch.randn(1, 16, 40, 40)) == {WRITTEN_OUT}


PEAK = """
import json, sys
import torch
from regard.nn.attention import ATTENTION

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))

torch.set_num_threads(1)
torch.set_grad_enabled(False)
grown = {}
for name, side in json.loads(sys.argv[1]):
    module = ATTENTION[name](128).eval()
    module(torch.randn(1, 128, 8, 8))  # libraries load what they need
    x = torch.randn(1, 128, side, side)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again
    before = status("VmRSS")
    module(x)
    grown[name] = status("VmHWM") - before
print(json.dumps(grown))
"""

LIMITS = [
    *((name, 80, 300) for name in ("SelfAttention", "MultiHeadSelfAttention")),  # N = 6400
    *((name, 160, 500) for name, kind in ATTENTION.items() if kind.card.linear),  # N = 25,600
]
"""Name, side of the map, MiB that the peak may grow by; 128 channels, 4 heads, float32."""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_peak_memory() -> None:
    asked = json.dumps([(name, side) for name, side, _ in LIMITS])
    # what a module frees goes back at once, lest the next one's growth hide in it
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, "-c", PEAK, asked]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    grown = json.loads(result.stdout)
    assert not {name: grown[name] for name, _, limit in LIMITS if grown[name] > limit}
    output = {name: side * side * 128 * 4 / 2**20 for name, side, _ in LIMITS}
    assert all(grown[name] > 0.9 * output[name] for name in grown), "measured less than the output alone"
