"""Fairness: what variants of one seed share, that seeds differ, and capacity controls as close as channels allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_studies import PLAIN, tiny_plan

import regard
from regard.ablate.data import check_seeds, checksum
from regard.ablate.detector import DetectorExperiment
from regard.ablate.folder import read_run
from regard.ablate.hardware import Hardware
from regard.ablate.processes import run_job
from regard.ablate.trainable import Budget, write_run
from regard.ablate.variants import DetectorVariant, VariantBuilder, matching_width, order_seed
from regard.config import AugmentSettings
from regard.data.loader import TrainLoader
from regard.errors import RegardError
from regard.graph.cost import GATE_FLOPS, row_costs
from regard.graph.detector import Detector
from regard.nn.residual import residual_parameters
from regard.training import loop
from regard.types import Batch

ASKED = ["SE(reduction=4)@p4", "MultiHeadSelfAttention@p3"]


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A trained detector for other classes than the data's, so that its head has to begin again."""
    overlay = tmp_path / "seven.yaml"
    overlay.write_text("base: odd-one-out\nnc: 7\n")
    torch.manual_seed(11)
    regard.save(regard.load(overlay), tmp_path / "seven.safetensors")
    return str(tmp_path / "seven.safetensors")


def by_layer(detector: Detector) -> dict[str, torch.Tensor]:
    """Return every tensor by the name of its layer, gates left out of the path."""
    names = [row.name for row in detector.spec.layers]
    return {
        f"{names[int(key.split('.')[1])]}.{key.split('.', 2)[2].removeprefix('module.')}": tensor
        for key, tensor in detector.state_dict().items()
    }


def test_all_that_variants_share_starts_with_the_same_values(base: str, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("base: odd-one-out\ninsert: [{after: p3, module: ECA}]\n")
    builder = VariantBuilder(tiny_plan(base=base, insert=ASKED, replace=["C3TR@p4"], model=[str(overlay)], noise=True))
    variants = builder.variants
    assert len(variants) == 8
    images = torch.rand(2, 3, 64, 64)
    for seed in (0, 3):
        first = builder.start(variants[0], seed)
        shared, output = by_layer(first), first(images)
        assert any(key.startswith("detect.") for key in shared)
        for variant in variants[1:]:
            detector = VariantBuilder(builder.plan).start(variant, seed)  # as in another process
            own = by_layer(detector)
            common = [key for key in own if key in shared and own[key].shape == shared[key].shape]
            assert len(common) >= len(shared) - 40 * (variant.kind == "replace")
            assert {key for key in shared if not key.startswith("p4.")} <= set(common)
            assert all(torch.equal(own[key], shared[key]) for key in common), variant.name
            if variant.kind != "replace":  # gates are closed
                assert all(map(torch.equal, detector(images), output)), variant.name


def test_a_start_is_the_same_each_time_and_another_for_another_seed(base: str) -> None:
    plan = tiny_plan(base=base, insert=ASKED)
    one, other = VariantBuilder(plan), VariantBuilder(plan)
    assert len(other.variants) == 5
    for variant in one.variants:
        torch.rand(5)  # any earlier draw
        assert same(one.start(variant, 2), other.start(variant, 2))
        assert not same(one.start(variant, 2), other.start(variant, 1)), variant.name
    kept = by_layer(one.base(1))["p3.cv1.conv.weight"]
    assert torch.equal(kept, by_layer(one.base(2))["p3.cv1.conv.weight"])  # of the weights that were given


def same(one: Detector, other: Detector) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_another_model_keeps_its_own_weights(base: str, tmp_path: Path) -> None:
    torch.manual_seed(12)
    other = regard.load("odd-one-out-se")
    regard.save(other, tmp_path / "other.safetensors")
    builder = VariantBuilder(tiny_plan(base=base, model=[str(tmp_path / "other.safetensors")], control="none"))
    variant = next(e for e in builder.variants if e.name == "other")
    assert same(builder.start(variant, 0), other)


def test_runs_of_one_seed_see_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    class Watched(TrainLoader):
        def epoch(self, epoch: int, *, mosaic: bool = True) -> Iterator[Batch]:
            seen.append([])
            for batch in super().epoch(epoch, mosaic=mosaic):
                seen[-1].append(f"{batch.indices} {hash(batch.images.numpy().tobytes())} {batch.targets}")
                yield batch

    monkeypatch.setattr(loop, "TrainLoader", Watched)
    experiment = DetectorExperiment(tiny_plan(noise=True, control="none"))
    variants = {variant.name: variant for variant in experiment.variants()}
    for name, seed in (("base", 0), ("SE(reduction=4)@p4", 0), ("noise", 0), ("base", 5)):
        hardware = Hardware("cpu", "32", 0)
        run_job(write_run(tmp_path / f"{name}-{seed}", experiment, variants[name], seed, Budget(1), hardware))
    base, variant, noise, other = seen
    assert base == variant
    assert len(base) == 4
    assert not set(base) & set(noise)
    assert not set(base) & set(other)
    losses = {read_run(name, 0, tmp_path / name).curve[0]["train/obj"] for name in ("base-0", "base-5", "noise-0")}
    assert len(losses) == 3


def test_the_noise_control_differs_in_its_order_alone() -> None:
    builder = VariantBuilder(tiny_plan(noise=True))
    variants = {variant.name: variant for variant in builder.variants}
    assert same(builder.start(variants["noise"], 1), builder.start(variants["base"], 1))
    assert order_seed(variants["noise"], 1) != 1
    assert order_seed(variants["SE(reduction=4)@p4"], 1) == 1 == order_seed(DetectorVariant("base", "base"), 1)


def test_seeds_that_change_nothing_are_rejected(tmp_path: Path) -> None:
    still = AugmentSettings(mosaic=0, translate=0, scale=0, fliplr=0, hsv_h=0, hsv_s=0, hsv_v=0)
    recipe = PLAIN.model_copy(update={"augment": still})
    weights = tmp_path / "whole.safetensors"
    overlay = tmp_path / "named.yaml"
    overlay.write_text("base: odd-one-out\n")
    regard.save(regard.load(overlay), weights)
    one_image = "synthetic:context?train=1&val=1&test=0"
    with pytest.raises(RegardError, match="seeds 0 and 1 have the same start"):
        check_seeds(VariantBuilder(tiny_plan(base=str(weights), data=one_image, recipe=recipe)))
    assert len(set(check_seeds(VariantBuilder(tiny_plan(base=str(weights), seeds=3))).values())) == 3


def test_the_checksum_sees_images_and_labels() -> None:
    sums = {checksum(VariantBuilder(tiny_plan(data=f"synthetic:{name}")).data) for name in (
        "context?train=5&val=2", "context?train=5&val=3", "local?train=5&val=2", "context?train=5&val=2&seed=1"
    )}  # fmt: skip
    assert len(sums) == 4


@pytest.mark.parametrize("channels", [1, 8, 127])
@pytest.mark.parametrize("wanted", [0, 17, 518, 8192, 66_048])
def test_the_width_is_the_nearest_of_all(channels: int, wanted: int) -> None:
    def size(hidden: int) -> int:
        return residual_parameters(channels, hidden)

    best = min(range(1, 200), key=lambda hidden: abs(size(hidden) - wanted))
    assert abs(size(matching_width(size, wanted)) - wanted) == abs(size(best) - wanted)


def variants(**changes: object) -> tuple[VariantBuilder, dict[str, DetectorVariant]]:
    builder = VariantBuilder(tiny_plan(**changes))
    return builder, {variant.name: variant for variant in builder.variants}


def test_it_has_as_many_parameters_at_the_same_place() -> None:
    name = "MultiHeadSelfAttention@p4+SE(reduction=4)@p3"
    builder, found = variants(insert=[name])
    control = found[f"control of {name}"]
    assert control.role == "capacity control"
    assert control.controls == name
    base, variant, other = (builder.start(found[n], 0) for n in ("base", name, control.name))
    own, matched = (sum(p.numel() for p in d.parameters()) for d in (variant, other))
    plain = sum(p.numel() for p in base.parameters())
    assert abs(matched - own) / (own - plain) < 0.02
    assert [row.inputs for row in other.spec.layers] == [
        tuple(i.replace(".multiheadselfattention", X).replace(".se", X) for i in row.inputs)
        for row in variant.spec.layers
    ]
    assert other.spec.layer(f"p4{X}").gate is other.spec.layer(f"p3{X}").gate is True
    assert f"{matched - plain - 2:,} parameters for {own - plain - 2:,}" in control.note


X = ".residualconvolutions"


def test_it_can_have_as_many_flops_instead() -> None:
    builder, found = variants(insert=["MultiHeadSelfAttention@p4"], control_match="flops", imgsz=128)
    totals = []
    for name in ("base", "MultiHeadSelfAttention@p4", "control of MultiHeadSelfAttention@p4"):
        detector = builder.start(found[name], 0)
        gate = GATE_FLOPS * 128 * 8 * 8 * (name.startswith("Multi"))
        totals.append(sum(cost.flops for cost in row_costs(detector, 128)) - gate)
    base, variant, control = totals
    assert abs(control - variant) / (variant - base) < 0.02


def test_where_convolutions_cannot_be_as_small_the_base_is_the_control() -> None:
    builder, found = variants(insert=["ECA@p4", "SimAM@p4", "SE@p4"])
    assert [name for name in found if name.startswith("control")] == ["control of SE@p4"]
    notes = builder.control_notes()
    assert "at least 525 parameters for 5, so the base is its control" in notes["ECA@p4"]
    assert "for 0, so the base" in notes["SimAM@p4"]


def test_what_changes_the_shape_has_none() -> None:
    builder, _ = variants(insert=["Conv(out_channels=64)@p3"], gate=False)
    assert "changes the shape" in builder.control_notes()["Conv(out_channels=64)@p3"]


def test_one_for_the_largest_or_none_at_all() -> None:
    asked = ["SE@p4", "MultiHeadSelfAttention@p4"]
    assert list(variants(insert=asked, control="largest")[1]) == [
        "base", "SE@p4", "MultiHeadSelfAttention@p4", "control of MultiHeadSelfAttention@p4"
    ]  # fmt: skip
    builder, _ = variants(insert=[*asked, "ECA@p4"], control="largest")
    notes = builder.control_notes()
    assert notes["SE@p4"] == "only the largest insertion has a control"
    assert "parameters for" in notes["MultiHeadSelfAttention@p4"]
    assert "no convolutions are as small" in notes["ECA@p4"]
    assert list(variants(insert=asked, control="none")[1]) == ["base", *asked]
