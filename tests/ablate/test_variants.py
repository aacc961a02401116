"""Fairness: what variants of one seed share, and that seeds differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_studies import PLAIN, tiny_plan

import regard
from regard.ablate.folder import read_run
from regard.ablate.hardware import Hardware
from regard.ablate.jobs import check_seeds, checksum, run_settings, write_job
from regard.ablate.variants import Entry, Lineup, order_seed
from regard.ablate.worker import run_job
from regard.config import AugmentSettings
from regard.data.loader import TrainLoader
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.training import loop
from regard.types import Batch

ASKED = ["SE(ratio=4)@p4", "MultiHeadSelfAttention@p3"]


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A trained detector for other classes than the data's, so that its head has to begin anew."""
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
    lineup = Lineup(tiny_plan(base=base, insert=ASKED, replace=["C3TR@p4"], model=[str(overlay)], noise=True))
    entries = lineup.entries()
    assert len(entries) == 8
    images = torch.rand(2, 3, 64, 64)
    for seed in (0, 3):
        first = lineup.start(entries[0], seed)
        shared, output = by_layer(first), first(images)
        assert any(key.startswith("detect.") for key in shared)
        for entry in entries[1:]:
            detector = Lineup(lineup.plan).start(entry, seed)  # as in another process
            own = by_layer(detector)
            common = [key for key in own if key in shared and own[key].shape == shared[key].shape]
            assert len(common) >= len(shared) - 40 * (entry.kind == "replace")
            assert {key for key in shared if not key.startswith("p4.")} <= set(common)
            assert all(torch.equal(own[key], shared[key]) for key in common), entry.name
            if entry.kind != "replace":  # gates are closed
                assert all(map(torch.equal, detector(images), output)), entry.name


def test_a_start_is_the_same_each_time_and_another_for_another_seed(base: str) -> None:
    plan = tiny_plan(base=base, insert=ASKED)
    one, other = Lineup(plan), Lineup(plan)
    other.entries()
    for entry in one.entries():
        torch.rand(5)  # whatever was drawn before
        assert same(one.start(entry, 2), other.start(entry, 2))
        assert not same(one.start(entry, 2), other.start(entry, 1)), entry.name
    kept = by_layer(one.base(1))["p3.cv1.conv.weight"]
    assert torch.equal(kept, by_layer(one.base(2))["p3.cv1.conv.weight"])  # of the weights that were given


def same(one: Detector, other: Detector) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_another_model_keeps_its_own_weights(base: str, tmp_path: Path) -> None:
    torch.manual_seed(12)
    other = regard.load("odd-one-out-se")
    regard.save(other, tmp_path / "other.safetensors")
    lineup = Lineup(tiny_plan(base=base, model=[str(tmp_path / "other.safetensors")], control="none"))
    entry = next(e for e in lineup.entries() if e.name == "other")
    assert same(lineup.start(entry, 0), other)


def test_runs_of_one_seed_see_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    class Watched(TrainLoader):
        def epoch(self, epoch: int, *, mosaic: bool = True) -> Iterator[Batch]:
            seen.append([])
            for batch in super().epoch(epoch, mosaic=mosaic):
                seen[-1].append(f"{batch.indices} {hash(batch.images.numpy().tobytes())} {batch.targets}")
                yield batch

    monkeypatch.setattr(loop, "TrainLoader", Watched)
    lineup = Lineup(tiny_plan(noise=True, control="none"))
    entries = {entry.name: entry for entry in lineup.entries()}
    for name, seed in (("base", 0), ("SE(ratio=4)@p4", 0), ("noise", 0), ("base", 5)):
        settings = run_settings(lineup.plan, entries[name], seed, 1, Hardware("cpu", "32", 0))
        write_job(tmp_path / f"{name}-{seed}", lineup, entries[name], seed, settings)
        run_job(tmp_path / f"{name}-{seed}")
    base, variant, noise, other = seen
    assert base == variant
    assert len(base) == 4
    assert not set(base) & set(noise)
    assert not set(base) & set(other)
    losses = {read_run(name, 0, tmp_path / name).curve[0]["train/obj"] for name in ("base-0", "base-5", "noise-0")}
    assert len(losses) == 3


def test_the_noise_control_differs_in_its_order_alone() -> None:
    lineup = Lineup(tiny_plan(noise=True))
    entries = {entry.name: entry for entry in lineup.entries()}
    assert same(lineup.start(entries["noise"], 1), lineup.start(entries["base"], 1))
    assert order_seed(entries["noise"], 1) != 1
    assert order_seed(entries["SE(ratio=4)@p4"], 1) == 1 == order_seed(Entry("base", "base"), 1)


def test_seeds_that_change_nothing_are_refused(tmp_path: Path) -> None:
    still = AugmentSettings(mosaic=0, translate=0, scale=0, fliplr=0, hsv_h=0, hsv_s=0, hsv_v=0)
    recipe = PLAIN.model_copy(update={"augment": still})
    weights = tmp_path / "whole.safetensors"
    overlay = tmp_path / "named.yaml"
    overlay.write_text("base: odd-one-out\n")
    regard.save(regard.load(overlay), weights)
    one_image = "synthetic:context?train=1&val=1&test=0"
    with pytest.raises(RegardError, match="seeds 0 and 1 have the same start"):
        check_seeds(Lineup(tiny_plan(base=str(weights), data=one_image, recipe=recipe)))
    assert len(set(check_seeds(Lineup(tiny_plan(base=str(weights), seeds=3))).values())) == 3


def test_the_checksum_sees_images_and_labels() -> None:
    sums = {checksum(Lineup(tiny_plan(data=f"synthetic:{name}")).data) for name in (
        "context?train=5&val=2", "context?train=5&val=3", "local?train=5&val=2", "context?train=5&val=2&seed=1"
    )}  # fmt: skip
    assert len(sums) == 4
