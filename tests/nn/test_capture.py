"""Maps are collected by layer name from what each layer was given, with the weights that it used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention import ATTENTION
from regard.nn.capture import attention_modules, capture
from regard.nn.gate import Gated
from regard.types import AttentionMap

SE, SelfAttention = ATTENTION["SE"], ATTENTION["SelfAttention"]


class Named(nn.Module):
    """Has a submodule of the name of the method, and attention further inside."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(SE(8), SE(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)


class Wrong(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> Tensor:  # noqa: ARG002
        return x


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 1), SE(8), Gated(SelfAttention(8)), Named())


def test_every_module_with_attention_is_found_by_name() -> None:
    found = attention_modules(_net().named_children())
    assert list(found) == ["1", "2", "3.attention.0", "3.attention.1"]
    assert isinstance(found["2"], SelfAttention)  # without its gate


def test_the_map_is_that_of_what_the_layer_was_given() -> None:
    net, x = _net(), torch.randn(2, 3, 5, 7)
    with capture(net.named_children()) as seen:
        after = net(x)
    se_in = net[0](x)
    attended_in = net[1](se_in)
    assert torch.equal(seen.map("1").weights, net[1].attention(se_in).weights)
    found, expected = seen.map("2", (4, 6)), net[2].module.attention(attended_in, (4, 6))
    assert torch.equal(found.weights, expected.weights)
    assert found.queries == ((4, 6),)
    assert list(seen.maps((0, 1))) == list(seen.modules)
    assert seen.maps((0, 1))["2"].queries == ((0, 1),)
    # The output of the network is that of the same weights: the layer's gain is its output over its input.
    torch.testing.assert_close(net[1](se_in), se_in * seen.map("1").weights[:, :, None, None])
    assert torch.equal(after, net(x))


def test_hooks_are_gone_afterwards_and_the_last_run_counts() -> None:
    net = _net()
    with capture(net.named_children()) as seen:
        net(torch.zeros(1, 3, 2, 2))
        net(torch.ones(1, 3, 3, 2))
    assert seen.inputs["1"].shape == (1, 8, 3, 2)
    assert not seen.inputs["1"].requires_grad
    net(torch.zeros(1, 3, 5, 5))
    assert seen.inputs["1"].shape == (1, 8, 3, 2)
    with pytest.raises(RuntimeError), capture(net.named_children()):
        net(torch.zeros(1, 4, 2, 2))
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_what_cannot_be_given_is_reported() -> None:
    with capture([("se", SE(8)), ("wrong", Wrong())]) as seen:
        pass
    with pytest.raises(RegardError, match=r"no attention layer 'es'"):
        seen.map("es")
    with pytest.raises(RegardError, match="has not run"):
        seen.map("se")
    seen.inputs["wrong"] = torch.zeros(1, 8, 2, 2)
    with pytest.raises(RegardError, match="returns a Tensor"):
        seen.map("wrong")


class Odd(Wrong):
    def __init__(self, found: AttentionMap) -> None:
        super().__init__()
        self.found = found

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # type: ignore[override]  # noqa: ARG002
        return self.found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (AttentionMap("chanel", torch.zeros(1, 8)), ["'chanel'", "did you mean 'channel'"]),
        (AttentionMap("weird", torch.zeros(1, 8)), ["'weird'", "channel, spatial, elements, rows"]),
        (AttentionMap("rows", torch.zeros(1, 3, 5)), ["'rows'", "(1, 3, 5)", "5 dimensions"]),
    ],
)
def test_a_map_of_no_known_kind_is_rejected(found: AttentionMap, words: list[str]) -> None:
    with capture([("odd", Odd(found))]) as seen:
        pass
    seen.inputs["odd"] = torch.zeros(1, 8, 2, 2)
    with pytest.raises(RegardError) as error:
        seen.map("odd")
    assert all(word in str(error.value) for word in words), error.value
