from __future__ import annotations

import copy

import pytest
import torch
from catalogue import Operators
from masked import SIZES, close
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.bottleneck_transformer import BottleneckTransformer, RelativeSelfAttention
from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.self_attention import MultiHeadSelfAttention


@pytest.mark.parametrize("size", [(5, 5), (4, 7), (7, 3)])
@pytest.mark.filterwarnings("ignore")
def test_the_attention_equals_timm(size: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm.layers.bottleneck_attn")
    theirs = timm.BottleneckAttn(16, feat_size=size, num_heads=2, scale_pos_embed=True).double().eval()
    ours = RelativeSelfAttention(16, 2, reach=6).double()
    with torch.no_grad():
        ours.qkv.weight.copy_(theirs.qkv.weight[:, :, 0, 0])
        ours.out.weight.copy_(torch.eye(16))
        for layer in (ours.qkv, ours.out):
            layer.bias.zero_()
        for table, rel, n in (
            (ours.rows, theirs.pos_embed.height_rel, size[0]),
            (ours.columns, theirs.pos_embed.width_rel, size[1]),
        ):
            table[6 - (n - 1) : 6 + n] = rel  # from an offset of -(n - 1) to one of n - 1
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    close(ours(x), theirs(x))


@pytest.mark.parametrize("size", SIZES)
def test_by_loops_beyond_the_reach_too(size: tuple[int, int]) -> None:
    module, x = RelativeSelfAttention(6, 2, reach=3).double(), torch.randn(1, 6, *size, dtype=torch.float64)
    q, k, v = (t.unflatten(2, size) for t in module.project(x))
    mixed = module.mix(*module.project(x), size).unflatten(2, size)
    for i, j in {(0, 0), (size[0] // 2, size[1] // 3), (size[0] - 1, size[1] - 1)}:
        scores = torch.zeros(2, *size, dtype=torch.float64)
        for y in range(size[0]):
            for z in range(size[1]):
                r = module.rows[max(-3, min(3, y - i)) + 3] + module.columns[max(-3, min(3, z - j)) + 3]
                scores[:, y, z] = (q[0, :, i, j] * (k[0, :, y, z] + r)).sum(-1) / 3**0.5
        weights = scores.flatten(1).softmax(-1).view_as(scores)
        close(mixed[0, :, i, j], torch.einsum("hyz,hyzd->hd", weights, v[0]))
        close(module.attention(x, (i, j)).weights[0, :, 0], weights)


def written_out(module: RelativeSelfAttention, x: Tensor) -> Tensor:
    """Return the output with every vector of an offset of keys from queries, and every weight, kept in memory."""
    size, most = (x.shape[2], x.shape[3]), module.reach
    rows, columns = (t.flatten() for t in torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij"))
    down, along = ((t[None] - t[:, None]).clamp(-most, most) + most for t in (rows, columns))
    q, k, v = module.project(x)
    scores = q @ k.mT + torch.einsum("bhid,ijd->bhij", q, module.rows[down] + module.columns[along])
    weights = (scores / q.shape[-1] ** 0.5).softmax(-1)
    return to_map(module.out(merge_heads(weights @ v)), size)


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_written_out_form_and_its_gradients(size: tuple[int, int]) -> None:
    module, x = RelativeSelfAttention(6, 2, reach=5).double(), torch.randn(2, 6, *size, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = module(ours), written_out(module, theirs)
    close(found, expected)
    upstream, tables = torch.randn_like(found), (module.rows, module.columns)
    for mine, other in zip(
        torch.autograd.grad(found, (ours, *tables), upstream),
        torch.autograd.grad(expected, (theirs, *tables), upstream),
        strict=True,
    ):
        close(mine, other, 1e-11)
    close(copy.deepcopy(module).float()(x.float()), expected.float(), 1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_no_weight_of_a_pair_is_stored(training: bool) -> None:
    """Longer vectors grow with N (H + W): eight times for four times the positions; N x N would be sixteen times."""
    module, sides = RelativeSelfAttention(8, 2).train(training), (24, 48)
    largest = []
    for side in sides:
        x = torch.randn(1, 8, side, side, requires_grad=training)
        with torch.set_grad_enabled(training), Operators() as operators:
            y = module(x)
            if training:
                y.sum().backward()
        largest.append(operators.largest)
    assert largest[1] <= 8 * largest[0]
    assert largest[1] < 2 * sides[1] ** 4 / 10  # a tenth of the weights of two heads


def test_without_vectors_of_offsets_is_plain_attention() -> None:
    plain, ours = MultiHeadSelfAttention(8, 2).double(), RelativeSelfAttention(8, 2).double()
    ours.load_state_dict(plain.state_dict(), strict=False)
    for table in (ours.rows, ours.columns):
        nn.init.zeros_(table)
    x = torch.randn(2, 8, 5, 7, dtype=torch.float64)
    close(ours(x), plain(x))


def test_the_branch_is_added_to_the_input() -> None:
    module, x = BottleneckTransformer(8, 2).eval(), torch.randn(2, 8, 5, 7)
    z = module.attn(nn.functional.silu(nn.functional.conv2d(x, module.cv1.conv.weight) / (1 + 1e-3) ** 0.5))
    z = nn.functional.silu(z / (1 + 1e-3) ** 0.5)
    close(module(x), x + nn.functional.conv2d(z, module.cv3.conv.weight) / (1 + 1e-3) ** 0.5, 1e-5)


def test_channels_inside() -> None:
    assert [BottleneckTransformer(c).hidden for c in (1, 16, 30, 128)] == [4, 4, 8, 32]
    assert BottleneckTransformer(64, 2, reduction=2).attn.in_channels == 32


def test_a_single_value_is_trained_as_by_the_other_modules() -> None:
    module = BottleneckTransformer(8, 2).train()
    close(module(torch.ones(1, 8, 1, 1)), module.eval()(torch.ones(1, 8, 1, 1)))


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="reduction 0 is too small"):
        BottleneckTransformer(8, reduction=0)
    with pytest.raises(RegardError, match="reach -1 is too small"):
        BottleneckTransformer(8, reach=-1)
