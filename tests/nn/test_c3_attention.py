"""C3 around any attention: the sum by hand, every module of the catalogue inside, and its way through files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import regard
from regard.errors import RegardError
from regard.nn.attention import ATTENTION
from regard.nn.blocks import C3
from regard.nn.c2f import C2f, C3k2
from regard.nn.c3_attention import AttentiveBottleneck, C2fAttention, C3Attention, C3k2Attention
from regard.nn.capture import attention_modules
from regard.nn.counter import count_on_map, forward_without_mixing
from regard.nn.table import LAYERS


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


def test_one_attention_behind_the_stack() -> None:
    layer, x = C3Attention(12, 10, "SE", repeats=2, placement="stack").eval(), torch.randn(2, 12, 5, 7)
    assert [type(module) for module in layer.attentions] == [ATTENTION["SE"]]
    y = layer.attend(layer.m(layer.cv1(x)))  # type: ignore[misc]
    torch.testing.assert_close(layer(x), layer.cv3(torch.cat((y, layer.cv2(x)), 1)))


def test_in_c2f_each_bottleneck_or_the_last_map_is_weighed() -> None:
    x = torch.randn(2, 12, 5, 7)
    inside = C2fAttention(12, 10, "SE", True, repeats=2).eval()
    behind = C2fAttention(12, 10, "SE", True, repeats=2, placement="stack").eval()
    maps = list(inside.cv1(x).chunk(2, 1))
    for block in inside.m:
        maps.append(maps[-1] + block.attend(block.cv2(block.cv1(maps[-1]))))  # type: ignore[operator]
    torch.testing.assert_close(inside(x), inside.cv2(torch.cat(maps, 1)))
    maps = list(behind.cv1(x).chunk(2, 1))
    for block in behind.m:
        maps.append(maps[-1] + block.cv2(block.cv1(maps[-1])))  # type: ignore[operator]
    maps[-1] = behind.attend(maps[-1])  # type: ignore[misc]
    torch.testing.assert_close(behind(x), behind.cv2(torch.cat(maps, 1)))


@pytest.mark.parametrize("c3k", [False, True])
def test_in_c3k2_every_bottleneck_has_its_own(c3k: bool) -> None:
    layer, x = C3k2Attention(12, 20, "ECA", c3k, repeats=2).eval(), torch.randn(2, 12, 5, 7)
    assert len(layer.attentions) == (4 if c3k else 2)
    y = list(layer.cv1(x).chunk(2, 1))
    for block in layer.m:
        inner = [*block.m] if c3k else [block]  # type: ignore[union-attr, misc]
        z = block.cv1(y[-1]) if c3k else y[-1]  # type: ignore[operator]
        for part in inner:
            z = z + part.attend(part.cv2(part.cv1(z)))
        y.append(block.cv3(torch.cat((z, block.cv2(y[-1])), 1)) if c3k else z)  # type: ignore[operator]
    torch.testing.assert_close(layer(x), layer.cv2(torch.cat(y, 1)))


@pytest.mark.parametrize("placement", ["bottleneck", "stack"])
@pytest.mark.parametrize(
    ("plain", "attentive"),
    [(C3, C3Attention), (C2f, C2fAttention), (C3k2, C3k2Attention)],
    ids=lambda kind: kind.__name__,
)
def test_without_attention_the_plain_block_is_left(plain: type, attentive: type, placement: str) -> None:
    block, layer = plain(8, 16, repeats=2).eval(), attentive(8, 16, "SE", repeats=2, placement=placement).eval()
    assert set(block.state_dict()) == {name for name in layer.state_dict() if "attend." not in name}
    layer.load_state_dict(block.state_dict(), strict=False)
    for module in list(layer.modules()):
        if getattr(module, "attend", None) is not None:
            module.attend = torch.nn.Identity()
    x = torch.randn(2, 8, 5, 7)
    torch.testing.assert_close(layer(x), block(x))


@pytest.mark.parametrize(("kind", "at"), [("C2fAttention", "p5.m.0.attend"), ("C3k2Attention", "p5.m.0.attend")])
def test_costs_and_maps_of_attention_inside(kind: str, at: str) -> None:
    for placement, path in (("bottleneck", at), ("stack", "p5.attend")):
        layer = LAYERS[kind](16, 32, "WindowAttention", options={"window": 3}, placement=placement).eval()
        alone = count_on_map(ATTENTION["WindowAttention"](16, window=3), 16, 9, 11)
        assert count_on_map(layer, 16, 9, 11).mixing_flops == alone.mixing_flops > 0
        assert list(attention_modules([("p5", layer)])) == [path]


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="unknown attention 'CBMA'") as caught:
        C3Attention(8, 8, "CBMA")
    assert "CBAM" in str(caught.value.hint)
    with pytest.raises(RegardError, match="SE has no option 'reductio'") as caught:
        C3Attention(8, 8, "SE", options={"reductio": 4})
    assert "reduction" in str(caught.value.hint)
    with pytest.raises(RegardError, match="num_heads 4 does not divide 5 channels"):
        C3Attention(8, 10)
