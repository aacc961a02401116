"""C3 around any attention: the sum by hand, every module of the catalogue inside, and its way through files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import regard
from regard.errors import RegardError
from regard.nn.attention import ATTENTION
from regard.nn.blocks import C3
from regard.nn.c3_attention import AttentiveBottleneck, C3Attention
from regard.nn.capture import attention_modules
from regard.nn.counter import count_on_map, forward_without_mixing


def test_attention_stands_behind_the_convolutions_and_before_the_sum() -> None:
    layer, x = C3Attention(12, 10, "SE", repeats=2).eval(), torch.randn(2, 12, 5, 7)
    y = layer.cv1(x)
    for bottleneck in layer.m:
        assert isinstance(bottleneck, AttentiveBottleneck)
        y = y + bottleneck.attend(bottleneck.cv2(bottleneck.cv1(y)))
    torch.testing.assert_close(layer(x), layer.cv3(torch.cat((y, layer.cv2(x)), 1)))
    assert layer(x).shape == (2, 10, 5, 7)


def test_without_shortcut_nothing_is_added() -> None:
    layer, x = C3Attention(8, 8, "SimAM", False).eval(), torch.randn(2, 8, 5, 7)
    y = layer.m[0].attend(layer.m[0].cv2(layer.m[0].cv1(layer.cv1(x))))
    torch.testing.assert_close(layer(x), layer.cv3(torch.cat((y, layer.cv2(x)), 1)))


def test_attention_that_lets_everything_pass_leaves_c3() -> None:
    plain, layer, x = C3(8, 8, repeats=2).eval(), C3Attention(8, 8, "SE", repeats=2).eval(), torch.randn(2, 8, 5, 7)
    assert set(plain.state_dict()) == {name for name in layer.state_dict() if ".attend." not in name}
    layer.load_state_dict(plain.state_dict(), strict=False)
    for bottleneck in layer.m:
        bottleneck.attend = torch.nn.Identity()
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize("name", ATTENTION)
def test_any_attention_of_the_catalogue(name: str) -> None:
    layer, x = C3Attention(16, 32, name).eval(), torch.randn(1, 16, 9, 11)
    assert layer(x).shape == (1, 32, 9, 11)
    assert forward_without_mixing(layer, x).shape == (1, 32, 9, 11)
    alone = count_on_map(ATTENTION[name](16), 16, 9, 11)
    assert count_on_map(layer, 16, 9, 11).mixing_flops == alone.mixing_flops
    assert list(attention_modules([("p5", layer)])) == ["p5.m.0.attend"]


def test_it_is_replaced_saved_and_loaded_by_name(tmp_path: Path) -> None:
    options = {"attention": "WindowAttention", "options": {"window": 3, "num_heads": 2}}
    edited = regard.insert(regard.load("odd-one-out"), "C3Attention", after="p4", options=options, gate=False)
    regard.save(edited, tmp_path / "c3.safetensors")
    loaded = regard.load(tmp_path / "c3.safetensors")
    images = torch.rand(1, 3, 64, 64)
    assert all(map(torch.equal, loaded(images), edited(images)))
    attention = loaded.layer("p4.c3attention").m[0].attend
    assert (attention.window, attention.num_heads) == (3, 2)


def test_in_place_of_c3_all_its_weights_are_kept() -> None:
    model = regard.load("yolov5n")
    edited = regard.replace(model, "p4", "C3Attention", options={"attention": "CBAM"})
    old, new = model.layer("p4").state_dict(), edited.layer("p4").state_dict()
    assert any(name.startswith("m.1.cv2") for name in old)
    assert {name for name in new if name not in old} == {name for name in new if ".attend." in name}
    assert all(torch.equal(tensor, new[name]) for name, tensor in old.items())


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="unknown attention 'CBMA'") as caught:
        C3Attention(8, 8, "CBMA")
    assert "CBAM" in str(caught.value.hint)
    with pytest.raises(RegardError, match="SE has no option 'reductio'") as caught:
        C3Attention(8, 8, "SE", options={"reductio": 4})
    assert "reduction" in str(caught.value.hint)
    with pytest.raises(RegardError, match="num_heads 4 does not divide 5 channels"):
        C3Attention(8, 10)
