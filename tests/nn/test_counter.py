"""Costs of modules that state none: users' own, by every way to write attention, and what cannot run without values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counting import products
from regard.nn.attention.core import attention_weights, fused_attention, mixing
from regard.nn.attention.se import SE
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.conv import Conv
from regard.nn.counter import WatchedMixing, count, count_on_map, forward_without_mixing
from regard.nn.gate import Gated
from regard.types import AttentionMap

CHANNELS, HEIGHT, WIDTH = 8, 5, 7
POSITIONS = HEIGHT * WIDTH
MIXING = 4 * CHANNELS * POSITIONS**2


class Own(nn.Module):
    """Attention as a user writes it, with three layers; a subclass mixes."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t[:, None] for t in self.qkv(x.flatten(2).mT).chunk(3, -1))
        return self.mix(q, k, v)[:, 0].mT.reshape(x.shape)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        raise NotImplementedError

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        q, k, _ = self.qkv(x.flatten(2).mT).chunk(3, -1)
        return AttentionMap("rows", attention_weights(q[:, :1], k).view(x.shape[0], 1, 1, *x.shape[2:]), ((0, 0),))


class ByTorch(Own):
    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class ByTheCore(Own):
    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return fused_attention(q, k, v)


class ByHandMarked(Own):
    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return mixing(lambda: attention_weights(q, k) @ v, without=v)


class ByTorchsModule(nn.Module):
    """In evaluation mode torch would take its own fast path, which no counter sees."""

    def __init__(self) -> None:
        super().__init__()
        self.multi_head = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).mT
        return self.multi_head(tokens, tokens, tokens, need_weights=False)[0].mT.reshape(x.shape)


class ByHand(Own):
    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention_weights(q, k) @ v


class ByContent(ByTorch):
    """Looks at the values, which the meta device does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum().item() > -torch.inf else x


every_way = pytest.mark.parametrize("kind", [ByTorch, ByTheCore, ByHandMarked, ByTorchsModule, ByContent])
some = torch.randn(1, CHANNELS, HEIGHT, WIDTH)


@every_way
@pytest.mark.parametrize("training", [False, True])
def test_mixing_is_counted_however_attention_is_written(kind: Callable[[], nn.Module], training: bool) -> None:
    module = kind().train(training)
    cost = count_on_map(module, CHANNELS, HEIGHT, WIDTH)
    assert cost.mixing_flops == MIXING
    layers = 4 if kind is ByTorchsModule else 3
    looked_at = CHANNELS * POSITIONS if kind is ByContent else 0  # a sum, one operation per element
    assert cost.flops == MIXING + 2 * layers * POSITIONS * CHANNELS**2 + looked_at
    assert module.training is training


def test_what_is_written_by_hand_without_a_mark_counts_but_not_as_mixing() -> None:
    cost = count_on_map(ByHand(), CHANNELS, HEIGHT, WIDTH)
    scaled = POSITIONS**2  # the scores over sqrt(d)
    assert (cost.flops, cost.mixing_flops) == (MIXING + 6 * POSITIONS * CHANNELS**2 + scaled, 0)


@every_way
def test_without_mixing_the_values_are_passed_on(kind: Callable[[], nn.Module]) -> None:
    module = kind()
    gone = products(lambda: module(some)) - products(lambda: forward_without_mixing(module, some))
    assert gone == MIXING
    assert torch.equal(WatchedMixing(module)(some), forward_without_mixing(module, some))
    if isinstance(module, Own):
        values = module.qkv(some.flatten(2).mT).chunk(3, -1)[2]
        assert torch.equal(forward_without_mixing(module, some), values.mT.reshape(some.shape))


def test_nothing_stays_changed_after_an_error() -> None:
    class Fails(ByTorch):
        def mix(self, *_: Tensor) -> Tensor:
            raise KeyError

    module = Fails()
    for run in (lambda: count(module, some), lambda: forward_without_mixing(module, some)):
        with pytest.raises(KeyError):
            run()
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
    assert torch.equal(mixing(torch.neg, some, without=some), -some)


def test_activations_are_those_of_the_kernel_that_runs() -> None:
    """Quadratic memory where weights are stored, linear where the fused kernel runs, on the meta device too."""
    grown = {}
    for kind in (ByTorch, ByHand):
        small, large = (count_on_map(kind(), CHANNELS, 20 * n, 20).activation_bytes for n in (1, 4))
        grown[kind] = large / small
    assert grown[ByTorch] == pytest.approx(4, rel=0.01)
    assert grown[ByHand] > 12


def test_activations_by_hand() -> None:
    layer = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    assert count(layer, torch.randn(7, 3)).activation_bytes == 7 * (3 + 5) * 4  # both inputs; tanh keeps its output
    assert count(layer, torch.randn(7, 3)).flops == 2 * 7 * (15 + 10)


def test_outside_of_attention_only_products_count() -> None:
    conv = Conv(CHANNELS, 4, 3)
    products_of_conv = 2 * POSITIONS * 9 * CHANNELS * 4
    assert count_on_map(conv, CHANNELS, HEIGHT, WIDTH).flops == products_of_conv
    inside = nn.Sequential(Conv(CHANNELS, CHANNELS), SE(CHANNELS))
    alone = count_on_map(SE(CHANNELS), CHANNELS, HEIGHT, WIDTH).flops
    assert count_on_map(inside, CHANNELS, HEIGHT, WIDTH).flops == alone + 2 * POSITIONS * CHANNELS**2


def test_a_gate_around_attention_counts() -> None:
    plain = MultiHeadSelfAttention(CHANNELS, 2)
    gated = count_on_map(Gated(plain), CHANNELS, HEIGHT, WIDTH)
    assert gated.flops - count_on_map(plain, CHANNELS, HEIGHT, WIDTH).flops == 3 * CHANNELS * POSITIONS
    gate = Gated(Conv(CHANNELS, CHANNELS))
    assert count_on_map(gate, CHANNELS, HEIGHT, WIDTH).flops == 2 * POSITIONS * CHANNELS**2
