from __future__ import annotations

import pytest
import torch
from masked import close
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.synthesizer import DenseSynthesizer, RandomSynthesizer

BASE = (5, 5)


def dense_by_the_paper(module: DenseSynthesizer, x: Tensor, heads: int) -> Tensor:
    """softmax(W2 relu(W1 X + b1) + b2) G(X), head by head, with W2 as a layer of N outputs; on the base grid."""
    batch, channels = x.shape[:2]
    tokens, width = x.flatten(2).mT, channels // heads
    heads_out = []
    for head in range(heads):
        of_head = slice(head * width, (head + 1) * width)
        first, second = nn.Linear(channels, width).double(), nn.Linear(width, 25).double()
        with torch.no_grad():
            first.weight.copy_(module.hidden.weight[of_head])
            first.bias.copy_(module.hidden.bias[of_head])
            second.weight.copy_(module.keys[head].flatten(1).T)
            second.bias.copy_(module.bias[head, 0].flatten())
        weights = F.softmax(second(F.relu(first(tokens))), -1)
        heads_out.append(weights @ module.value(tokens)[..., of_head])
    return module.out(torch.cat(heads_out, -1)).mT.reshape(batch, channels, *BASE)


def test_dense_is_the_paper_s_on_the_base_grid() -> None:
    module, x = DenseSynthesizer(6, 2, 5).double(), torch.randn(2, 6, *BASE, dtype=torch.float64)
    nn.init.normal_(module.bias)
    close(module(x), dense_by_the_paper(module, x, 2))


@pytest.mark.parametrize("rank", [3, 25])
def test_random_is_the_paper_s_on_the_base_grid(rank: int) -> None:
    """At rank N with R2 the identity, R1 is the paper's R itself."""
    module, x = RandomSynthesizer(6, 2, rank, 5).double(), torch.randn(2, 6, *BASE, dtype=torch.float64)
    if rank == 25:
        with torch.no_grad():
            module.r2.copy_(torch.eye(25).view(25, 5, 5).expand(2, -1, -1, -1))
        r = module.r1.flatten(2).mT  # (heads, N, N)
    else:
        r = module.r1.flatten(2).mT @ module.r2.flatten(2)
    v = module.value(x.flatten(2).mT).unflatten(-1, (2, 3)).transpose(1, 2)
    mixed = (r.softmax(-1) @ v).transpose(1, 2).flatten(2)
    close(module(x), module.out(mixed).mT.reshape(x.shape))
    close(module.attention(x, (2, 4)).weights[1, :, 0].flatten(1), r.softmax(-1)[:, 14])


def test_the_rule_for_a_map_of_another_size() -> None:
    """By hand, on one axis: a base grid of 2 has centres at 1/4 and 3/4; a map of 4 at 1/8, 3/8, 5/8 and 7/8."""
    module, x = RandomSynthesizer(1, 1, 1, 2).double(), torch.randn(1, 1, 1, 4, dtype=torch.float64)
    with torch.no_grad():
        module.r1.fill_(1)
        module.r2.copy_(torch.tensor([0.0, 8.0]).expand(2, 2))
    weights = module.attention(x).weights.flatten()
    close(weights, torch.tensor([0.0, 2.0, 6.0, 8.0], dtype=torch.float64).softmax(0))


@pytest.mark.parametrize("kind", [DenseSynthesizer, RandomSynthesizer])
def test_constant_weights_average_the_values(kind: type[DenseSynthesizer | RandomSynthesizer]) -> None:
    module, x = kind(6, 2).double(), torch.randn(2, 6, 3, 7, dtype=torch.float64)
    for name, parameter in module.named_parameters():
        if name in ("keys", "bias", "r1"):
            nn.init.zeros_(parameter)
    mean = module.out(module.value(x.flatten(2).mT).mean(1))
    close(module(x), mean[..., None, None].expand_as(x))


def test_dense_weights_come_from_the_query_and_random_ones_from_nothing() -> None:
    x = torch.randn(1, 6, 3, 7, dtype=torch.float64)
    changed = x.clone()
    changed[..., :2] += 1
    for module, of_query in ((DenseSynthesizer(6, 2).double(), True), (RandomSynthesizer(6, 2).double(), False)):
        far, near = (
            (module.attention(x, (1, at)).weights - module.attention(changed, (1, at)).weights).abs().max()
            for at in (5, 1)
        )
        assert far == 0
        assert (near > 0) == of_query


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="DenseSynthesizer: side 0 is too small"):
        DenseSynthesizer(8, side=0)
    with pytest.raises(RegardError, match="rank 0 is too small"):
        RandomSynthesizer(8, rank=0)
    with pytest.raises(RegardError, match="cannot use 'rotary' positions"):
        DenseSynthesizer(16, pos_embed="rotary")
