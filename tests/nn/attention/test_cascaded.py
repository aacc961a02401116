from __future__ import annotations

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.cascaded import CascadedGroupAttention


def test_equals_timm_without_norms_and_biases_of_scores() -> None:
    theirs_of = pytest.importorskip("timm.models.efficientvit_msra").CascadedGroupAttention
    ours = CascadedGroupAttention(12, 3, 5, 3).double()
    theirs = theirs_of(12, 5, 3, attn_ratio=4 / 5, resolution=7, kernels=(3, 3, 3)).double()
    theirs.eval()  # which returns nothing
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0
            module.reset_parameters()
    with torch.no_grad():
        for ours_one, theirs_one in zip(ours.qkv, theirs.qkvs, strict=True):
            theirs_one.conv.weight.copy_(ours_one.weight[..., None, None])
            theirs_one.bn.bias.copy_(ours_one.bias)
        for ours_one, theirs_one in zip(ours.around, theirs.dws, strict=True):
            theirs_one.conv.weight.copy_(ours_one.weight)
            theirs_one.bn.bias.copy_(ours_one.bias)
        theirs.proj[1].conv.weight.copy_(ours.out.weight[..., None, None])
        theirs.proj[1].bn.bias.copy_(ours.out.bias)
    x = torch.randn(2, 12, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-10)


def test_a_head_attends_by_what_the_one_before_found() -> None:
    """The first row does not depend on the values of the second head, the second does on those of the first."""
    module, x = CascadedGroupAttention(8, 2, 3).double(), torch.randn(1, 8, 3, 5, dtype=torch.float64)
    before = module.attention(x).weights
    with torch.no_grad():
        module.qkv[0].weight[6:] += 1
    after = module.attention(x).weights
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_options() -> None:
    for options, message in (
        ({"num_heads": 3}, "num_heads 3"),
        ({"qk_dim": 0}, "qk_dim 0"),
        ({"kernel": 4}, "kernel 4"),
    ):
        with pytest.raises(RegardError, match=message):
            CascadedGroupAttention(8, **options)
