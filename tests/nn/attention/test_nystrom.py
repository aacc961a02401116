from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from masked import close
from nystrom_reference import algorithm_1
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.nystrom import NystromAttention, means_of_stretches, pseudo_inverse
from regard.nn.attention.self_attention import MultiHeadSelfAttention


def with_all_landmarks(grid: int) -> tuple[NystromAttention, MultiHeadSelfAttention]:
    """Return a module and plain attention of the same weights, by which positions mostly attend to themselves."""
    plain = MultiHeadSelfAttention(24, 2).double()
    plain.qkv.weight.data[:24] = torch.eye(24)
    plain.qkv.weight.data[24:48] = 3 * torch.eye(24) + 0.1 * torch.randn(24, 24)
    ours = NystromAttention(24, 2, grid, kernel=0).double()
    ours.load_state_dict(plain.state_dict())
    return ours, plain


def exact(a: Tensor) -> Tensor:
    found: Tensor = torch.linalg.pinv(a, rtol=1e-12)
    return found


@pytest.mark.parametrize("size", [(4, 4), (2, 4), (1, 4), (3, 4), (1, 1)])
def test_all_landmarks_with_the_exact_inverse_are_plain_attention(size: tuple[int, int]) -> None:
    """To 1e-9, not 1e-12: some digits are lost to the condition of the matrix that is inverted."""
    torch.manual_seed(3)
    ours, plain = with_all_landmarks(4)
    ours.pseudo_inverse = exact
    x = torch.randn(2, 24, *size, dtype=torch.float64)
    close(ours(x), plain(x), 1e-9)
    for query in ((0, 0), (size[0] - 1, size[1] // 2)):
        close(ours.attention(x, query).weights, plain.attention(x, query).weights, 1e-9)


def test_iterations_lead_to_plain_attention() -> None:
    torch.manual_seed(3)
    ours, plain = with_all_landmarks(4)
    x, errors = torch.randn(2, 24, 4, 4, dtype=torch.float64), []
    for iterations in (1, 3, 6, 12, 24):
        ours.pseudo_inverse = partial(pseudo_inverse, iterations=iterations)
        errors.append((ours(x) - plain(x)).abs().max().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9
    assert errors[0] > 0.01


def dense(module: NystromAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output and the N x N weights as the paper writes them, landmarks by slicing."""
    height, width = x.shape[2:]
    q, k, v = module.project(x)

    def bounds(n: int) -> list[tuple[int, int]]:
        edges = [i * n // module.grid for i in range(module.grid + 1)]
        return [(a, max(a + 1, b)) for a, b in pairwise(edges)]

    def marks(t: Tensor) -> Tensor:
        on_map = t.unflatten(2, (height, width))  # type: ignore[no-untyped-call]
        cells = [on_map[:, :, a:b, c:d].mean((2, 3)) for a, b in bounds(height) for c, d in bounds(width)]
        return torch.stack(cells, 2)

    def softmax(a: Tensor, b: Tensor) -> Tensor:
        return (torch.einsum("bhid,bhjd->bhij", a, b) / math.sqrt(a.shape[-1])).softmax(-1)

    f, a, b = softmax(q, marks(k)), softmax(marks(q), marks(k)), softmax(marks(q), k)
    one = torch.eye(module.grid**2, dtype=x.dtype)
    z = a.mT / (a.abs().sum(2).max(2).values * a.abs().sum(3).max(2).values)[:, :, None, None]
    for _ in range(module.iterations):
        z = 0.25 * z @ (13 * one - a @ z @ (15 * one - a @ z @ (7 * one - a @ z)))
    weights = f @ z @ b
    joined = (weights @ v).transpose(1, 2).flatten(2)
    if module.skip is not None:
        values = v.transpose(2, 3).reshape(x.shape)
        joined = joined + F.conv2d(values, module.skip.weight, padding=1, groups=x.shape[1]).flatten(2).mT
    return module.out(joined).mT.reshape(x.shape), weights


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 13), (5, 3)])
@pytest.mark.parametrize("kernel", [0, 3])
def test_equals_the_dense_form(size: tuple[int, int], kernel: int) -> None:
    module = NystromAttention(12, 3, 4, kernel=kernel).double()
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    expected, weights = dense(module, x)
    close(module(x), expected)
    for row, column in ((0, 0), (size[0] // 2, size[1] - 1)):
        found = module.attention(x, (row, column)).weights[:, :, 0].flatten(2)
        close(found, weights[:, :, row * size[1] + column])


@pytest.mark.parametrize(("size", "grid"), [((8, 12), 4), ((6, 9), 3), ((1, 1), 1), ((5, 5), 5)])
def test_equals_algorithm_1_of_the_paper(size: tuple[int, int], grid: int) -> None:
    """Attention does not know the order of tokens: where those of a cell follow one another, segments are cells."""
    module, heads, d = NystromAttention(12, 3, grid, kernel=0).double(), 3, 4
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    tall, wide = size[0] // grid, size[1] // grid
    numbers = np.arange(size[0] * size[1]).reshape(grid, tall, grid, wide)
    by_cell = numbers.transpose(0, 2, 1, 3).ravel()
    weights = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    found = module(x).flatten(2).mT.detach().numpy()
    for image in range(2):
        tokens = x[image].flatten(1).T.numpy()
        q, k, v = np.split(tokens @ weights["qkv.weight"].T + weights["qkv.bias"], 3, axis=1)
        mixed = np.zeros_like(tokens)
        for head in range(heads):
            own = slice(head * d, (head + 1) * d)
            mixed[by_cell, own] = algorithm_1(*(t[by_cell, own] for t in (q, k, v)), grid**2, module.iterations)
        expected = mixed @ weights["out.weight"].T + weights["out.bias"]
        np.testing.assert_allclose(found[image], expected, rtol=0, atol=1e-12)


def test_the_dense_form_in_float32() -> None:
    module, x = NystromAttention(12, 3, 4), torch.randn(2, 12, 9, 13)
    close(module(x), dense(module, x)[0], 1e-5)


@pytest.mark.parametrize(("n", "count"), [(1, 3), (2, 3), (3, 3), (7, 3), (12, 4), (5, 1)])
def test_stretches_share_the_positions(n: int, count: int) -> None:
    matrix = means_of_stretches(n, count, torch.empty(0, dtype=torch.float64))
    close(matrix.sum(1), torch.ones(count, dtype=torch.float64))
    held = (matrix > 0).sum(1)
    assert held.max() - held.min() <= 1
    if n >= count:
        assert held.sum() == n
        assert (matrix > 0).any(0).all()
    steps = matrix.argmax(1).tolist()
    assert steps == sorted(steps)


def test_the_inverse_of_a_singular_matrix_is_moores_and_penroses() -> None:
    a = torch.rand(2, 5, 5, dtype=torch.float64).softmax(-1)
    a[1] = a[1, [0, 0, 1, 1, 2]][:, [0, 0, 1, 1, 2]]  # doubled rows and columns
    z = pseudo_inverse(a, 60)
    for expected, found in ((a, a @ z @ a), (z, z @ a @ z), ((a @ z).mT, a @ z), ((z @ a).mT, z @ a)):
        close(found, expected, 1e-6 * max(1.0, expected.abs().max().item()))


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="grid 0 is too small"):
        NystromAttention(8, grid=0)
    with pytest.raises(RegardError, match="iterations 0 is too small"):
        NystromAttention(8, iterations=0)
    with pytest.raises(RegardError, match=r"kernel 4 is not odd[\s\S]*nearest is 5"):
        NystromAttention(8, kernel=4)
    with pytest.raises(RegardError, match="cannot use 'relative'"):
        NystromAttention(8, pos_embed="relative")
