from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import Block

from regard.errors import RegardError
from regard.nn.attention.core import to_map, to_tokens
from regard.nn.attention.transformer_block import TransformerBlock
from regard.nn.counter import count_on_map


def test_equals_timm() -> None:
    peer = Block(24, 3, mlp_ratio=2, qkv_bias=True).double().eval()
    block = TransformerBlock(24, num_heads=3, mlp_ratio=2).double()
    for ours, theirs in (
        (block.norm1, peer.norm1),
        (block.attn.qkv, peer.attn.qkv),
        (block.attn.out, peer.attn.proj),
        (block.norm2, peer.norm2),
        (block.ffn[0], peer.mlp.fc1),
        (block.ffn[2], peer.mlp.fc2),
    ):
        ours.load_state_dict(theirs.state_dict())
        torch.nn.init.normal_(ours.bias)
        theirs.bias.data = ours.bias.data
    peer.norm1.eps = peer.norm2.eps = block.norm1.eps  # 1e-6 in timm
    x = torch.randn(2, 24, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), to_map(peer(to_tokens(x)), (7, 5)), rtol=0, atol=1e-12)


def test_map_and_mixing_are_those_of_its_attention() -> None:
    block, x = TransformerBlock(16, num_heads=2).double(), torch.randn(2, 16, 7, 3, dtype=torch.float64)
    seen = []
    block.attn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    block(x)
    expected = block.attn.attention(seen[0], (5, 1))
    found = block.attention(x, (5, 1))
    assert found.queries == expected.queries
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=0)
    mixing = 4 * 21**2 * 16
    assert count_on_map(block, 16, 7, 3).mixing_flops == count_on_map(block.attn, 16, 7, 3).mixing_flops == mixing


@pytest.mark.parametrize("positions", ["none", "sinusoidal"])
def test_a_permutation_of_positions_matters_only_with_positions(positions: str) -> None:
    block = TransformerBlock(16, pos_embed=positions).double()
    x, order = torch.randn(2, 16, 3, 5, dtype=torch.float64), torch.randperm(15)
    permuted = x.flatten(2)[:, :, order].view_as(x)
    same = torch.allclose(block(permuted).flatten(2), block(x).flatten(2)[:, :, order], rtol=0, atol=1e-12)
    assert same == (positions == "none")


def test_options() -> None:
    assert TransformerBlock(16, mlp_ratio=1.5).hidden == 24
    with pytest.raises(RegardError, match="mlp_ratio 0 is not positive"):
        TransformerBlock(16, mlp_ratio=0)
    with pytest.raises(RegardError, match="did you mean 'sigmoid'"):
        TransformerBlock(16, score_activation="sigmoi")
