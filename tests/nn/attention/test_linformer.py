from __future__ import annotations

import pytest
import torch
from masked import close
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.linformer import Linformer
from regard.nn.attention.self_attention import MultiHeadSelfAttention


def test_on_the_base_grid_it_is_the_papers_form() -> None:
    module, x = Linformer(12, 3, 5, 4).double(), torch.randn(2, 12, 4, 4, dtype=torch.float64)
    tokens = x.flatten(2).transpose(1, 2)
    peer = nn.MultiheadAttention(12, 3, batch_first=True).double()
    weights = {"in_proj_weight": module.qkv.weight, "in_proj_bias": module.qkv.bias}
    peer.load_state_dict({**weights, "out_proj.weight": module.out.weight, "out_proj.bias": module.out.bias})
    expected, _ = peer(tokens, module.e.flatten(1) @ tokens, module.f.flatten(1) @ tokens)
    close(module(x).flatten(2).transpose(1, 2), expected)
    close(module.projection(module.e, (4, 4)), module.e.flatten(1), 0.0)


def test_the_identity_as_projection_is_plain_attention() -> None:
    plain, ours = MultiHeadSelfAttention(12).double(), Linformer(12, rank=9, side=3).double()
    identity = torch.eye(9, dtype=torch.float64).view(9, 3, 3)
    ours.load_state_dict({**plain.state_dict(), "e": identity, "f": identity})
    x = torch.randn(2, 12, 3, 3, dtype=torch.float64)
    close(ours(x), plain(x))
    close(ours.attention(x, (2, 0)).weights, plain.attention(x, (2, 0)).weights)


def linear_between(values: list[float], n: int) -> list[float]:
    """Interpolate along one axis, positions at the middles of equal parts of the unit interval."""
    found = []
    for i in range(n):
        at = min(max((i + 0.5) / n * len(values) - 0.5, 0.0), len(values) - 1.0)
        low = min(int(at), len(values) - 2)
        found.append(values[low] + (at - low) * (values[low + 1] - values[low]))
    return found


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 9), (2, 3)])
def test_other_sizes_interpolate_along_both_axes_and_keep_the_scale(size: tuple[int, int]) -> None:
    module = Linformer(8, rank=2, side=3).double()
    found = module.projection(module.e, size).view(2, *size)
    for m in range(2):
        rows = [linear_between(row, size[1]) for row in module.e[m].tolist()]
        both = [linear_between(list(column), size[0]) for column in zip(*rows, strict=True)]
        expected = torch.tensor(both, dtype=torch.float64).T * 9 / (size[0] * size[1])
        close(found[m], expected)


def test_a_constant_map_gives_the_same_output_at_every_multiple_of_the_base_size() -> None:
    """Linear interpolation to a multiple keeps sums, but for the flat ends, which an even field does not feel."""
    module, x = Linformer(8, rank=3, side=4).double(), torch.randn(1, 8, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        for learned in (module.e, module.f):
            learned.copy_(learned[:, :1, :1].expand_as(learned))
    outputs = [module(x.expand(1, 8, *size))[0, :, 0, 0] for size in ((4, 4), (8, 12), (40, 24), (7, 5))]
    for other in outputs[1:]:
        close(other, outputs[0])


def smooth(n: int) -> Tensor:
    steps = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    waves = [torch.cos(torch.pi * (k % 3) * steps)[:, None] * torch.cos(torch.pi * (k // 3) * steps) for k in range(8)]
    return torch.stack(waves)[None]


def test_a_smooth_map_means_the_same_at_another_size() -> None:
    module = Linformer(8, rank=3, side=8).double()
    coarse, fine = module.project(smooth(32))[1], module.project(smooth(64))[1]
    scale = module.project(smooth(8))[1].std()
    assert (fine - coarse).abs().max() < 0.01 * scale  # halving the step changes an integral by its square
    assert (fine - coarse).abs().max() > 1e-9  # and yet they were computed at two sizes


def test_the_row_is_what_every_value_contributes() -> None:
    module, x = Linformer(6, 1, 4, 3).double(), torch.randn(2, 6, 5, 2, dtype=torch.float64)
    with torch.no_grad():
        module.out.weight.copy_(torch.eye(6))
        module.out.bias.zero_()
        module.qkv.bias.zero_()
    values = x.flatten(2).transpose(1, 2) @ module.qkv.weight[12:].T
    row = module.attention(x, (4, 1)).weights[:, 0, 0].flatten(1)
    close(module(x)[:, :, 4, 1], torch.einsum("bn,bnc->bc", row, values))


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="rank 0 is too small"):
        Linformer(8, rank=0)
    with pytest.raises(RegardError, match="side 0 is too small"):
        Linformer(8, side=0)
    with pytest.raises(RegardError, match="cannot use 'relative'"):
        Linformer(8, pos_embed="relative")
