from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.api import load
from regard.config import LossSettings
from regard.errors import RegardError
from regard.geometry.iou import ciou
from regard.nn.heads import LossContext, identity_reduce, total_loss
from regard.nn.heads.yolov5_loss import assign, level_balance, yolov5_loss
from regard.types import Targets

GRIDS = ((7, 11), (5, 3), (3, 2))
NC = 5
NO_TARGETS = Targets(torch.empty(0).long(), torch.empty(0).long(), torch.empty(0, 4))


def random_batch(images: int, boxes: int, nc: int = NC, levels: int = 3) -> tuple[list[Tensor], Targets, Tensor]:
    raw = [torch.randn(images, 3, ny, nx, 5 + nc).double().requires_grad_() for ny, nx in GRIDS[:levels]]
    sizes = torch.cat((torch.rand(boxes, 2), torch.rand(boxes, 2) * 0.7 + 0.05), 1)
    targets = Targets(torch.randint(images, (boxes,)), torch.randint(nc, (boxes,)), sizes)
    return raw, targets, torch.rand(levels, 3, 2) * 3 + 0.5


def losses_of(
    raw: Sequence[Tensor],
    targets: Targets,
    anchors: Tensor,
    settings: LossSettings,
    size: int,
    reduce: Callable[[Tensor], Tensor] = identity_reduce,
    images: int = 0,
) -> dict[str, Tensor]:
    """The named losses of levels of strides 8, 16, ..., and their total."""
    context = LossContext(settings, size, reduce)
    found = yolov5_loss(raw, targets, anchors, [8 << i for i in range(len(raw))], context)
    return {**found, "total": total_loss(found, images or len(raw[0]))}


def positives_of(raw: Sequence[Tensor], targets: Targets, anchors: Tensor) -> list[int]:
    return [len(own) for own in assign(targets, anchors, [tuple(level.shape[2:4]) for level in raw], 4.0)]  # type: ignore[misc]


def slow_loss(raw: Sequence[Tensor], targets: Targets, anchors: Tensor, s: LossSettings, size: int) -> Tensor:
    """The facts page written out cell by cell; returns box, obj, cls after gains."""
    nc = raw[0].shape[-1] - 5
    balance = {1: [1.0], 2: [4.0, 1.0], 3: [4.0, 1.0, 0.4]}[len(raw)]
    parts = torch.zeros(3).double()
    grids = [(level.shape[2], level.shape[3]) for level in raw]
    for level, p, weight in zip(
        raw, assign(targets, anchors.double(), grids, s.anchor_threshold), balance, strict=True
    ):
        wanted: dict[tuple[int, ...], float] = {}
        box_losses, class_losses, objectness_losses = [], [], []
        for i in range(len(p)):
            place = (int(p.image[i]), int(p.anchor[i]), int(p.row[i]), int(p.column[i]))
            values = level[place].sigmoid()
            box = torch.stack(
                (
                    2 * values[0] - 0.5,
                    2 * values[1] - 0.5,
                    (2 * values[2]) ** 2 * p.anchor_wh[i, 0],
                    (2 * values[3]) ** 2 * p.anchor_wh[i, 1],
                )
            )
            quality = ciou(box, p.boxes_cxcywh[i])
            box_losses.append(1 - quality)
            wanted[place] = max(quality.item(), 0.0)
            for c in range(nc):
                want = (1 - s.label_smoothing) * (c == int(p.class_ids[i])) + s.label_smoothing / 2
                class_losses.append(slow_bce(values[5 + c], want, s.cls_positive_weight))
        for place in np.ndindex(*level.shape[:4]):
            objectness_losses.append(slow_bce(level[place][4].sigmoid(), wanted.get(place, 0.0), s.obj_positive_weight))
        share = 3 / len(raw)
        parts[1] = parts[1] + s.obj * share * (size / 640) ** 2 * weight * torch.stack(objectness_losses).mean()
        if box_losses:
            parts[0] = parts[0] + s.box * share * torch.stack(box_losses).mean()
        if class_losses and nc > 1:
            parts[2] = parts[2] + s.cls * share * nc / 80 * torch.stack(class_losses).mean()
    return parts


def slow_bce(p: Tensor, want: float, positive_weight: float) -> Tensor:
    return -(positive_weight * want * p.log() + (1 - want) * (1 - p).log())


@pytest.mark.parametrize(
    ("levels", "nc", "settings"),
    [
        (3, NC, LossSettings()),
        (2, NC, LossSettings(cls_positive_weight=1.7, obj_positive_weight=0.6, label_smoothing=0.1)),
        (1, 1, LossSettings(anchor_threshold=2.5)),
    ],
)
def test_value_and_gradient_against_plain_python(levels: int, nc: int, settings: LossSettings) -> None:
    raw, targets, anchors = random_batch(2, 23, nc, levels)
    loss = losses_of(raw, targets, anchors.double(), settings, 320)
    expected = slow_loss(raw, targets, anchors, settings, 320)
    torch.testing.assert_close(torch.stack([loss[name] for name in ("box", "obj", "cls")]).detach(), expected.detach())
    torch.testing.assert_close(loss["total"], 2 * expected.sum())
    for got, want in zip(
        torch.autograd.grad(loss["total"], raw), torch.autograd.grad(2 * expected.sum(), raw), strict=True
    ):
        torch.testing.assert_close(got, want)


def test_the_last_positive_of_a_cell_sets_its_objectness() -> None:
    """Two boxes in one cell: only the objectness target tells the order, the box and class means do not."""
    boxes = torch.tensor([[0.5, 0.5, 0.3, 0.4], [0.5, 0.5, 0.2, 0.5]])
    raw, anchors = [torch.zeros(1, 1, 3, 3, 7)], torch.tensor([[[1.0, 1.5]]])
    quality = ciou(torch.tensor([0.5, 0.5, 1.0, 1.5]), torch.cat((boxes[:, :2] * 3 - 1, boxes[:, 2:] * 3), 1))
    for order in ([0, 1], [1, 0]):
        targets = Targets(torch.zeros(2).long(), torch.zeros(2).long(), boxes[order])
        loss = losses_of(raw, targets, anchors, LossSettings(), 640)
        raised = losses_of([F.pad(raw[0][..., :4], (0, 3), value=1.0)], targets, anchors, LossSettings(), 640)
        # BCE(x, t) = log(1 + e^x) - t x, so that raising every x from 0 to 1 shows the sum of the targets
        shown = F.softplus(torch.tensor(1.0)) - F.softplus(torch.tensor(0.0)) - (raised["obj"] - loss["obj"]) / 3
        assert positives_of(raw, targets, anchors) == [2]  # both in the middle cell alone, half a cell from any other
        torch.testing.assert_close(shown * 9, quality[order[1]])


def test_a_batch_without_boxes_trains_objectness() -> None:
    raw, _, anchors = random_batch(2, 1)
    loss = losses_of(raw, NO_TARGETS, anchors.double(), LossSettings(), 640)
    assert (loss["box"], loss["cls"], positives_of(raw, NO_TARGETS, anchors)) == (0, 0, [0, 0, 0])
    assert loss["obj"] > 0
    for gradient in torch.autograd.grad(loss["total"], raw):  # raises for a level that is not reached
        assert (gradient[..., 4] != 0).all()
        assert (gradient[..., :4] == 0).all()


def test_float32_inside_autocast_and_from_bfloat16() -> None:
    raw, targets, anchors = random_batch(2, 23)
    half = [level.detach().bfloat16().requires_grad_() for level in raw]
    exact = losses_of([level.detach().float() for level in half], targets, anchors, LossSettings(), 640)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = losses_of(half, targets, anchors.bfloat16().float(), LossSettings(), 640)
        same = losses_of(half, targets, anchors, LossSettings(), 640)
    assert loss["total"].dtype == same["total"].dtype == torch.float32
    torch.testing.assert_close(same["total"], exact["total"], rtol=1e-6, atol=0)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(same["total"], half))


@pytest.mark.parametrize("first", [1, 2])
def test_two_processes_equal_one(first: int) -> None:
    """Each gets a part of the batch, equal or not; their averaged losses and gradients are those of the whole."""
    raw, targets, anchors = random_batch(4, 31)
    anchors = anchors.double()
    whole = losses_of(raw, targets, anchors, LossSettings(), 640)

    def share(start: int, stop: int, counts: list[Tensor], total: Tensor | None = None) -> dict[str, Tensor]:
        mine = (targets.image_index >= start) & (targets.image_index < stop)
        part = Targets(targets.image_index[mine] - start, targets.class_ids[mine], targets.boxes_cxcywh[mine])

        def combine(own: Tensor) -> Tensor:
            counts.append(own)
            return own if total is None else total

        return losses_of([level[start:stop] for level in raw], part, anchors, LossSettings(), 640, combine, images=4)

    spans, counts = ((0, first), (first, 4)), list[Tensor]()
    for span in spans:
        share(*span, counts)
    shares = [share(*span, [], counts[0] + counts[1]) for span in spans]
    torch.testing.assert_close((shares[0]["total"] + shares[1]["total"]) / 2, whole["total"])
    for part in ("box", "obj", "cls"):
        torch.testing.assert_close((shares[0][part] + shares[1][part]) / 2, whole[part])
    averaged = torch.autograd.grad((shares[0]["total"] + shares[1]["total"]) / 2, raw)
    torch.testing.assert_close(averaged, torch.autograd.grad(whole["total"], raw))


def test_balance_of_levels() -> None:
    assert [len(level_balance([8 << i for i in range(n)])) for n in range(1, 6)] == [1, 2, 3, 4, 5]
    assert level_balance([64]) == (1.0,)
    assert level_balance([4, 8, 16, 32]) == (4.0, 1.0, 0.25, 0.06)
    with pytest.raises(RegardError, match="6 detection levels"):
        level_balance([1, 2, 4, 8, 16, 32])


def test_the_weight_of_a_level_follows_its_stride() -> None:
    """Levels given coarsest first have the same loss as the same levels finest first."""
    raw, targets, anchors = random_batch(2, 23)
    context = LossContext(LossSettings(), 640)
    first = yolov5_loss(raw, targets, anchors, (8, 16, 32), context)
    last = yolov5_loss(raw[::-1], targets, anchors.flip(0), (32, 16, 8), context)
    for name, value in first.items():
        torch.testing.assert_close(last[name], value)


def test_a_thousand_objects_an_image() -> None:
    raw, targets, anchors = random_batch(2, 2000)
    loss = losses_of(raw, targets, anchors, LossSettings(), 640)
    loss["total"].backward()
    assert loss["total"].isfinite()
    assert sum(positives_of(raw, targets, anchors)) > 2000


@pytest.mark.parametrize("mode", ["eval_bn", "train_bn"])
@pytest.mark.parametrize("size", [320, 640])
def test_parity_with_the_reference(shared: Path, size: int, mode: str) -> None:
    model = load(shared / "weights" / "yolov5n.pt").train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(mode == "train_bn")
    stored = np.load(shared / "reference" / f"loss_{size}.npz")
    expected = json.loads((shared / "reference" / f"loss_{size}.json").read_text())["results"][mode]
    rows = torch.from_numpy(stored["targets"])
    targets = Targets(rows[:, 0].long(), rows[:, 1].long(), rows[:, 2:])

    raw = model(torch.from_numpy(stored["batch_uint8"]).float() / 255)
    loss = losses_of(raw, targets, model.head.anchors, LossSettings(), 640)  # 640: objectness gain 1, as stored
    loss["total"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert positives_of(raw, targets, model.head.anchors) == expected["positives_per_level"]
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    measured = torch.stack([*(loss[name].detach() for name in ("box", "obj", "cls", "total")), norm])
    wanted = torch.tensor([*expected["box_obj_cls"], expected["total"], expected["grad_norm"]])
    torch.testing.assert_close(measured, wanted, rtol=1e-4, atol=0)


def test_a_loss_has_no_image_size_of_its_own() -> None:
    """The default of imgsz is a setting's; a second one would scale the objectness loss in silence."""
    with pytest.raises(TypeError, match="image_size"):
        LossContext(LossSettings())  # type: ignore[call-arg]


def test_class_weights_multiply_the_terms_of_their_class() -> None:
    raw, targets, anchors = random_batch(2, 23)
    classes = raw[0].shape[-1] - 5

    def losses(weights: list[float] | None) -> dict[str, Tensor]:
        context = LossContext(LossSettings(), 64, class_weights=weights)
        return yolov5_loss(raw, targets, anchors, [8 << i for i in range(len(raw))], context)

    plain = losses(None)
    apart = [losses([float(i == c) for i in range(classes)]) for c in range(classes)]
    assert sum(own["cls"].item() for own in apart) == pytest.approx(plain["cls"].item())
    assert len({round(own["cls"].item(), 6) for own in apart}) == classes
    assert all(own["box"].item() == plain["box"].item() and own["obj"].item() == plain["obj"].item() for own in apart)
