from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.normaliser import NORMALISERS, Normaliser, choose_normaliser

SCORES = torch.tensor([[math.log(2.0), -1.0, 0.0, math.log(5.0)]], dtype=torch.float64)
SOME = torch.tensor([[True, True, False, True]])
A, B = math.log(2.0), math.log(5.0)
E = math.exp(-1.0)
BY_HAND = {
    # name: (every key seen, the third key masked)
    "softmax": ([2 / (8 + E), E / (8 + E), 1 / (8 + E), 5 / (8 + E)], [2 / (7 + E), E / (7 + E), 0, 5 / (7 + E)]),
    "relu": ([A / 4, 0, 0, B / 4], [A / 3, 0, 0, B / 3]),
    "squared_relu": ([A**2 / 4, 0, 0, B**2 / 4], [A**2 / 3, 0, 0, B**2 / 3]),
    # 1 / (1 + n exp(-s))
    "sigmoid": (
        [1 / (1 + 4 / 2), 1 / (1 + 4 / E), 1 / 5, 1 / (1 + 4 / 5)],
        [1 / (1 + 3 / 2), 1 / (1 + 3 / E), 0, 1 / (1 + 3 / 5)],
    ),
}


@pytest.mark.parametrize("name", NORMALISERS)
def test_by_hand(name: str) -> None:
    seen, masked = (torch.tensor([row], dtype=torch.float64) for row in BY_HAND[name])
    torch.testing.assert_close(NORMALISERS[name](SCORES, None), seen, rtol=0, atol=1e-12)
    torch.testing.assert_close(NORMALISERS[name](SCORES, SOME), masked, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalise", NORMALISERS.values())
def test_a_masked_key_gets_zero_and_changes_nothing(normalise: Normaliser) -> None:
    scores = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    allowed = torch.rand(5, 7) > 0.4
    allowed[:, 0] = True
    weights = normalise(scores, allowed)
    assert (weights[..., ~allowed] == 0).all()
    for query in range(5):
        few = normalise(scores[:, :, query, allowed[query]], None)
        torch.testing.assert_close(weights[:, :, query, allowed[query]], few, rtol=0, atol=1e-12)


def test_one_key_or_none() -> None:
    scores, allowed = torch.tensor([[3.0, 5.0]] * 2), torch.tensor([[False, True], [False, False]])
    assert NORMALISERS["softmax"](scores, allowed)[0].tolist() == [0, 1]
    assert NORMALISERS["relu"](scores, allowed).tolist() == [[0, 5], [0, 0]]
    assert NORMALISERS["squared_relu"](scores, allowed).tolist() == [[0, 25], [0, 0]]
    expected = torch.tensor([[0, 1 / (1 + math.exp(-5))], [0, 0]])
    torch.testing.assert_close(NORMALISERS["sigmoid"](scores, allowed), expected)


def test_only_the_softmax_sums_to_one() -> None:
    scores = torch.randn(3, 11, dtype=torch.float64)
    sums = {name: normalise(scores, None).sum(-1) for name, normalise in NORMALISERS.items()}
    torch.testing.assert_close(sums["softmax"], torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert all((sums[name] - 1).abs().min() > 1e-3 for name in NORMALISERS if name != "softmax")


def test_an_unknown_name_is_told_its_nearest() -> None:
    with pytest.raises(RegardError, match="unknown normaliser 'softmx'") as caught:
        choose_normaliser("softmx")
    assert "squared_relu" in str(caught.value.expected)
    assert "softmax" in str(caught.value.hint)
