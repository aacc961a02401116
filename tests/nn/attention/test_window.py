from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from near import by_loops, global_under_mask
from timm.models.swin_transformer import WindowAttention as TimmWindowAttention
from torch import Tensor
from torchvision.models.swin_transformer import ShiftedWindowAttention as TorchvisionWindowAttention

from regard.errors import RegardError
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.window import ShiftedWindowAttention, WindowAttention

Kind = type[WindowAttention]
both = pytest.mark.parametrize("kind", [WindowAttention, ShiftedWindowAttention])


def torchvision_like(block: WindowAttention) -> TorchvisionWindowAttention:
    """Return torchvision's layer with the weights of ``block``; its table runs over the opposite offsets."""
    side = [block.window, block.window]
    peer = TorchvisionWindowAttention(block.in_channels, side, [block.shift] * 2, block.num_heads).double().eval()
    state = {f"{ours}.{p}": block.get_parameter(f"{theirs}.{p}")
             for ours, theirs in (("qkv", "qkv"), ("proj", "out")) for p in ("weight", "bias")}  # fmt: skip
    table = block.position.get_parameter("table").flip(1, 2).flatten(1).T
    peer.load_state_dict({**state, "relative_position_bias_table": table}, strict=False)
    return peer


@both
@pytest.mark.parametrize("size", [(3, 3), (6, 9), (9, 3), (3, 12), (12, 6)])
def test_is_torchvision(kind: Kind, size: tuple[int, int]) -> None:
    block, x = kind(8, 2, 3, "relative").double(), torch.randn(2, 8, *size, dtype=torch.float64)
    expected = torchvision_like(block)(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


@both
@pytest.mark.parametrize("size", [(13, 9), (10, 11), (5, 12), (2, 13)])
def test_is_torchvision_in_full_windows_where_windows_do_not_divide_the_map(kind: Kind, size: tuple[int, int]) -> None:
    """Torchvision lets the zeros that it fills up with take part, so that windows with such differ."""
    block, x = kind(8, 2, 5, "relative").double(), torch.randn(2, 8, *size, dtype=torch.float64)
    with torch.no_grad():
        block.qkv.bias[:] = torch.randn(24)
    alike = (block(x) - torchvision_like(block)(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).abs().amax((0, 1)) < 1e-12
    padded = [-(-n // 5) * 5 for n in size]
    axes = []
    for n, filled in zip(size, padded, strict=True):  # which positions share no region with what fills up
        shift = block.shift if filled > 5 else 0
        regions = [(i - shift) // 5 for i in range(filled)]
        axes.append(torch.tensor([regions[i] not in regions[n:] for i in range(n)]))
    assert torch.equal(alike, axes[0][:, None] & axes[1])


def test_is_timm() -> None:
    block, x = WindowAttention(8, 2, 3, "relative").double(), torch.randn(2, 8, 6, 9, dtype=torch.float64)
    peer = TimmWindowAttention(8, 2, window_size=3).double().eval()
    state = {f"{ours}.{p}": block.get_parameter(f"{theirs}.{p}")
             for ours, theirs in (("qkv", "qkv"), ("proj", "out")) for p in ("weight", "bias")}  # fmt: skip
    table = block.position.get_parameter("table").flip(1, 2).flatten(1).T
    peer.load_state_dict({**state, "relative_position_bias_table": table}, strict=False)
    for i in (0, 3):
        for j in (0, 3, 6):
            window = x[:, :, i : i + 3, j : j + 3]
            expected = peer(window.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (3, 3))
            torch.testing.assert_close(block(x)[:, :, i : i + 3, j : j + 3], expected, rtol=0, atol=1e-12)


@both
@pytest.mark.parametrize("window", [1, 2, 5, 7])
@pytest.mark.parametrize("positions", ["none", "relative", "log_cpb", "rotary"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (6, 5)])
def test_is_global_attention_under_its_mask(kind: Kind, window: int, positions: str, size: tuple[int, int]) -> None:
    block = kind(8, 2, window, positions).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(block(x), global_under_mask(block, x), rtol=0, atol=1e-12)


def test_shifted_by_loops() -> None:
    block, x = ShiftedWindowAttention(8, 2, 4).double(), torch.randn(2, 8, 11, 3, dtype=torch.float64)

    def seen(i: int, n: int) -> range:
        borders = [0, 2, 6, 10, 11] if n == 11 else [0, 3]  # 3 columns fit a window, which is not shifted
        return next(range(a, b) for a, b in pairwise(borders) if a <= i < b)

    expected = by_loops(block, x, seen, lambda *_: torch.zeros(()))
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


@both
def test_is_plain_attention_where_a_window_covers_the_map(kind: Kind) -> None:
    plain, x = MultiHeadSelfAttention(8, 2).double(), torch.randn(2, 8, 5, 3, dtype=torch.float64)
    for window in (2, 4, 5, 7):
        block = kind(8, 2, window).double()
        block.load_state_dict(plain.state_dict())
        assert torch.allclose(block(x), plain(x), rtol=0, atol=1e-12) == (window >= 5)


@both
def test_what_fills_up_leaves_gradients_finite(kind: Kind) -> None:
    x = torch.randn(2, 8, 11, 9, requires_grad=True)
    kind(8, 2, 7)(x).square().sum().backward()
    gradient = x.grad
    assert isinstance(gradient, Tensor)
    assert gradient.isfinite().all()


@both
def test_an_empty_window_is_rejected(kind: Kind) -> None:
    with pytest.raises(RegardError, match="window 0 is too small"):
        kind(8, 2, 0)
