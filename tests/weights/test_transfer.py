from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.edit import insert, remove, replace_layer
from regard.graph.read import parse_spec, read_spec
from regard.weights.detector import load_detector, rebuild, replace_classes
from regard.weights.transfer import TransferReport, match_layers, transfer

NAMES = {i: f"class{i}" for i in range(80)}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base() -> Detector:
    detector = build(read_spec("yolov5n"))
    for key, tensor in detector.state_dict().items():  # no tensor may equal a fresh one by chance
        if key != "model.24.anchors":
            tensor.copy_(torch.rand(tensor.shape) * 9 if tensor.is_floating_point() else torch.tensor(7))
    return detector


def moved(base: Detector, target: Detector) -> TransferReport:
    report = transfer(base.state_dict(), base.spec, base.names, target)
    keys = list(target.state_dict())
    filled = [*report.kept, *report.moved, *report.partly]
    assert sorted([*filled, *report.initialised]) == sorted(keys)  # every target tensor once
    used = {*report.kept, *report.moved.values()}
    assert used.isdisjoint(report.unused)
    assert len(used) + len(report.partly) + len(report.unused) == len(base.state_dict())
    assert report.found == len(filled)
    return report


def check_layers(base: Detector, target: Detector, but: set[str]) -> None:
    """Check that each layer of ``base`` has all its tensors under the same name in ``target``."""
    for name, layer in base.named_layers():
        if name not in but:
            own = target.layer(name).state_dict()
            own = {key.removeprefix("module."): t for key, t in own.items() if key != "gamma"}
            assert own.keys() == layer.state_dict().keys()
            for key, tensor in layer.state_dict().items():
                assert torch.equal(own[key], tensor), (name, key)


@pytest.mark.parametrize("after", range(24))
def test_an_insertion_anywhere_finds_all_349(base: Detector, after: int) -> None:
    target = build(insert(base.spec, "SE", after=after, gate=bool(after % 2)))
    report = moved(base, target)
    assert (report.found, len(report.unused)) == (349, 0)
    assert len(report.initialised) == 2 + after % 2
    assert all(key.startswith(f"model.{after + 1}.") for key in report.initialised)
    check_layers(base, target, set())


@pytest.mark.parametrize("after", [4, 9, 14])
def test_so_it_does_for_an_integer_file_edited_by_hand(base: Detector, after: int) -> None:
    text = build(insert(base.spec, "SE", after=after, gate=False)).spec.to_yolov5_yaml()
    target = build(parse_spec(text, Path("hand.yaml")))
    assert moved(base, target).found == 349
    check_layers(base, target, set())


def test_two_insertions_and_another_width_of_names(base: Detector) -> None:
    twice = insert(insert(base.spec, "SE", after="p4"), "SE", after="p4", gate=False)
    target = build(twice)
    assert moved(base, target).found == 349
    check_layers(base, target, set())
    unnamed = replace(twice, layers=tuple(replace(row, name=f"r{i}", inputs=()) for i, row in enumerate(twice.layers)))
    assert match_layers(base.spec, unnamed) == {j: i for i, j in enumerate([*range(7), *range(9, 27)])}


def test_a_replaced_block_keeps_what_fits(base: Detector) -> None:
    target = build(replace_layer(base.spec, "p5", "C3TR"))
    report = moved(base, target)
    assert {key.split(".")[1] for key in report.initialised} == {"8"}
    assert all(key.startswith("model.8.m.") for key in (*report.initialised, *report.unused))
    assert torch.equal(
        target.layer("p5").state_dict()["cv1.conv.weight"], base.layer("p5").state_dict()["cv1.conv.weight"]
    )
    check_layers(base, target, {"p5"})


def test_a_removed_row_is_unused(base: Detector) -> None:
    report = moved(base, build(remove(base.spec, "sppf")))
    assert report.initialised == ()
    assert {key.split(".")[1] for key in report.unused} == {"9"}


def test_other_classes_keep_boxes_objectness_and_those_of_the_same_name(base: Detector) -> None:
    names = {0: "new", 1: "class17", 2: "class3"}
    target = build(base.spec.with_classes(3), names=names)
    fresh = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    report = moved(base, target)
    assert sorted(report.partly) == [f"model.24.m.{i}.{k}" for i in range(3) for k in ("bias", "weight")]
    assert report.found == 349
    assert report.initialised == report.unused == ()
    for key in report.partly:
        old, new = (t.view(3, -1, *t.shape[1:]) for t in (base.state_dict()[key], target.state_dict()[key]))
        assert torch.equal(new[:, :5], old[:, :5])
        assert torch.equal(new[:, 6], old[:, 5 + 17])
        assert torch.equal(new[:, 7], old[:, 5 + 3])
        assert torch.equal(new[:, 5], fresh[key].view_as(new)[:, 5])
    check_layers(base, target, {"detect"})


def test_retarget_leaves_its_source_alone(base: Detector) -> None:
    before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
    new, report = replace_classes(base, {0: "class5"})
    assert (new.nc, new.names, new.spec.nc) == (1, {0: "class5"}, 1)
    assert len(report.partly) == 6
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.state_dict().items())


def test_into_a_gate_and_out_of_it(base: Detector) -> None:
    gated = build(insert(base.spec, "SE", after="p3"))
    plain = build(insert(base.spec, "SE", after="p3", gate=False))
    torch.nn.init.normal_(gated.layer("p3.se").get_parameter("gamma"))
    report = moved(gated, plain)
    assert report.unused == ("model.5.gamma",)
    assert torch.equal(
        plain.layer("p3.se").state_dict()["l1.weight"], gated.layer("p3.se").state_dict()["module.l1.weight"]
    )
    torch.nn.init.zeros_(plain.layer("p3.se").get_parameter("l1.weight"))
    report = moved(plain, gated)
    assert report.initialised == ("model.5.gamma",)
    assert not gated.layer("p3.se").state_dict()["module.l1.weight"].any()


def test_anchors_that_the_target_states_go_before_those_of_the_weights(base: Detector) -> None:
    own = (
        (4.0, 5.0, 8.0, 10.0, 9.0, 9.0),
        (20.0, 20.0, 30.0, 40.0, 50.0, 30.0),
        (90.0, 60.0, 200.0, 200.0, 99.0, 300.0),
    )
    stated = build(replace(read_spec("yolov5n"), anchors=own))
    report = moved(base, stated)
    assert report.initialised == ("model.24.anchors",)
    assert (stated.head.anchors[0] * 8).flatten().tolist() == list(own[0])
    fitted = build(replace(read_spec("yolov5n"), anchors=3))
    moved(base, fitted)
    assert torch.equal(fitted.head.anchors, base.head.anchors)


def test_an_edit_keeps_anchors_that_were_fitted_after_building() -> None:
    detector = build(read_spec("yolov5n"))
    detector.head.anchors.mul_(1.5)
    edited, _ = rebuild(detector, insert(detector.spec, "SE", after="p3"))
    assert torch.equal(edited.head.anchors, detector.head.anchors)
    assert edited.spec.anchors == tuple(tuple(1.5 * x for x in level) for level in read_spec("yolov5n").anchors)  # type: ignore[union-attr]


def printed(report: TransferReport) -> list[str]:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(report)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_report_says_what_is_not_simply_kept_by_layer(base: Detector) -> None:
    assert printed(moved(base, build(base.spec))) == ["weights: all 349 tensors kept"]
    target = build(insert(base.spec, "SE", after="sppf").with_classes(3), names={0: "class1", 1: "b[red]", 2: "c"})
    assert printed(moved(base, target)) == [
        "weights: 343 tensors kept, 6 kept in part, 3 new (some under another index)",
        "  detect: boxes and objectness kept, also class1; the classes b[red], c are newly initialised",
        "  sppf.se: 3 new tensors",
    ]
    assert printed(moved(base, build(replace_layer(base.spec, "p5", "C3TR"))))[1:] == [
        "  p5: 11 of 29 tensors new",
        "  p5: 12 of 30 tensors of the source are not used",
    ]


def test_the_report_counts_what_would_be_too_much_to_list(base: Detector) -> None:
    lines = printed(moved(base, build(base.spec.with_classes(20), names={i: f"new{i}" for i in range(20)})))
    assert lines[1].endswith("the classes new0, new1, new2, new3, new4, new5, new6, and 13 more are newly initialised")
    lines = printed(transfer({}, base.spec, base.names, build(base.spec)))
    assert lines[0] == "weights: no tensor matches, all 349 are newly initialised"
    assert len(lines) == 9
    assert lines[-1] == "  and 12 more"  # 19 of the 25 layers have tensors


def test_as_many_classes_in_another_order_are_moved_by_name(base: Detector) -> None:
    swapped = {0: "class1", 1: "class0", **{i: f"class{i}" for i in range(2, 80)}}
    target = build(base.spec, names=swapped)
    report = moved(base, target)
    assert len(report.partly) == 6
    assert printed(report)[1].startswith("  detect: boxes and objectness kept, also class1, class0, class2")
    for key in report.partly:
        old, new = (t.view(3, -1, *t.shape[1:]) for t in (base.state_dict()[key], target.state_dict()[key]))
        assert torch.equal(new[:, 5], old[:, 6])
        assert torch.equal(new[:, 6], old[:, 5])
        assert torch.equal(new[:, 7:], old[:, 7:])
    renamed = moved(base, build(base.spec, names={i: f"other{i}" for i in range(80)}))
    assert renamed.partly == {}


def test_names_of_classes_may_differ_in_case_and_blanks(base: Detector) -> None:
    wanted = {0: "new", 1: " CLASS5 ", 2: "Class7", 3: "class7"}
    target = build(replace(base.spec, nc=4), names=wanted)
    report = moved(base, target)
    assert "also  CLASS5 , class7; the classes new, Class7 are newly" in printed(report)[1]
    for key in report.partly:
        old, new = (t.view(3, -1, *t.shape[1:]) for t in (base.state_dict()[key], target.state_dict()[key]))
        assert torch.equal(new[:, 6], old[:, 10])
        assert torch.equal(new[:, 8], old[:, 12])
        assert not torch.equal(new[:, 7], old[:, 12])


def test_the_published_checkpoint_moves_whole(shared: Path) -> None:
    source = load_detector(shared / "weights/yolov5n.pt")
    edited, report = rebuild(source, insert(source.spec, "SE", after="sppf", options={"reduction": 16}))
    assert report.found == 349
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert all(map(torch.equal, source(x), edited(x)))
    assert edited.names == source.names
