from __future__ import annotations

import pytest
import torch
from timm.models.xcit import XCA as TimmXCA  # noqa: N811

from regard.errors import RegardError
from regard.nn.attention.core import to_map, to_tokens
from regard.nn.attention.xca import XCA


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_timm(dtype: torch.dtype, atol: float) -> None:
    peer, block = TimmXCA(24, num_heads=3, qkv_bias=True).to(dtype), XCA(24, num_heads=3).to(dtype)
    torch.nn.init.uniform_(peer.temperature, 0.5, 3)
    block.load_state_dict({key.replace("proj", "out"): value for key, value in peer.state_dict().items()})
    x = torch.randn(2, 24, 7, 5, dtype=dtype)
    torch.testing.assert_close(block(x), to_map(peer(to_tokens(x)), (7, 5)), rtol=0, atol=atol)


def test_by_hand() -> None:
    """One head, two positions. Channels of q are (1, 0), (0, 1); of k (0.6, 0.8), (1, 0) once scaled to length 1."""
    block = XCA(2, num_heads=1).double()
    q = torch.tensor([[2.0, 0], [0, 5]], dtype=torch.float64)[None, None]
    k = torch.tensor([[3.0, 7], [4, 0]], dtype=torch.float64)[None, None]
    torch.nn.init.constant_(block.temperature, 2)
    expected = torch.tensor([[1.2, 2.0], [1.6, 0.0]], dtype=torch.float64).softmax(-1)
    torch.testing.assert_close(block.weights(q, k)[0, 0], expected)


def test_the_map_is_what_each_channel_of_the_values_gives() -> None:
    """With W_o and the values made the identity, the gradient of the sum of the output is the map times C."""
    block, x = XCA(6, num_heads=2).double(), torch.randn(2, 6, 3, 5, dtype=torch.float64)
    q, k, v = (t.detach() for t in block.project(x))
    weights = block.weights(q, k)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 3, dtype=torch.float64), rtol=0, atol=1e-12)
    v.requires_grad_()
    (given,) = torch.autograd.grad((v @ weights.transpose(-2, -1)).sum(), v)
    found = block.attention(x)
    assert found.kind == "channel"
    torch.testing.assert_close(6 * found.weights, given[:, :, 0].flatten(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("positions", ["none", "learned", "sinusoidal"])
def test_a_permutation_of_positions_matters_only_with_positions(positions: str) -> None:
    block, x = XCA(8, pos_embed=positions).double(), torch.randn(2, 8, 3, 5, dtype=torch.float64)
    order = torch.randperm(15)
    moved = block(x.flatten(2)[:, :, order].view_as(x)).flatten(2)
    same = torch.allclose(moved, block(x).flatten(2)[:, :, order], rtol=0, atol=1e-12)
    assert same == (positions == "none")


def test_duplicated_positions_change_nothing() -> None:
    block, x = XCA(8).double(), torch.randn(2, 8, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(block(torch.cat((x, x), 2))[:, :, :3], block(x), rtol=0, atol=1e-12)


def test_options() -> None:
    with pytest.raises(RegardError, match=r"num_heads 5[\s\S]*the nearest is 4"):
        XCA(8, num_heads=5)
    with pytest.raises(RegardError, match=r"num_heads 4 leaves one of 4 channels[\s\S]*2 channels per head"):
        XCA(4)
    with pytest.raises(RegardError, match="cannot use 'rotary'"):
        XCA(16, pos_embed="rotary")
