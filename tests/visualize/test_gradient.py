"""Gradient maps where the answer is known, behind a linear head and by plain autograd; and whose detection is taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import regard
from regard.graph.detector import Detector
from regard.visualize.gradient import choose_detection, grad_cam, gradient_map, gradient_product

IMAGES = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(3)
    return regard.load("odd-one-out")


def _predictions(detector: Detector) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        boxes, scores = detector(IMAGES)
        return boxes[0], scores[0]


def test_the_two_formulas_by_hand() -> None:
    activation = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, -1.0]]])
    gradient = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, -12.0]]])  # means 1 and -3
    assert grad_cam(activation, gradient).tolist() == [[0.0, 2.0], [3.0, 7.0]]
    assert gradient_product(activation, gradient).tolist() == [[4.0, 0.0], [0.0, 12.0]]


def test_behind_a_linear_head_only_the_cell_of_the_box_counts(detector: Detector) -> None:
    """With logits w A + b: dS/dA = S ((1 - s_obj) w_obj + (1 - s_cls) w_cls) in one cell, 0 elsewhere."""
    found = gradient_map(detector, IMAGES, detector.layer("head.out"))
    boxes, scores = _predictions(detector)
    row, class_id = choose_detection(boxes, scores)
    anchor, cell = divmod(row, 4 * 6)
    weight = detector.head.m[0].weight[:, :, 0, 0].detach().view(3, 7, -1)[anchor]
    with torch.no_grad():
        s = detector.raw(IMAGES)[0].flatten(1, 3)[0].sigmoid()
    objectness, probability = s[row, 4], s[row, 5 + class_id]
    slope = objectness * probability * ((1 - objectness) * weight[4] + (1 - probability) * weight[5 + class_id])
    with torch.no_grad():
        x = IMAGES
        for _, layer in list(detector.named_layers())[:-1]:
            x = layer(x)
    place = divmod(cell, 6)
    expected = torch.zeros(4, 6)
    expected[place] = (slope * x[0, :, place[0], place[1]]).abs().sum()
    torch.testing.assert_close(found.product, expected)
    torch.testing.assert_close(found.cam, (slope[:, None, None] / 24 * x[0]).sum(0).relu())
    assert (found.score, found.class_id) == (pytest.approx(float(objectness * probability)), class_id)
    centre, side = boxes[row, :2], boxes[row, 2:]
    torch.testing.assert_close(found.box_xyxy, torch.cat((centre - side / 2, centre + side / 2)))


def test_a_deeper_layer_agrees_with_plain_autograd(detector: Detector) -> None:
    found = gradient_map(detector, IMAGES, detector.layer("p3"))
    x, activation = IMAGES, torch.empty(0)
    for name, layer in list(detector.named_layers())[:-1]:
        x = layer(x)
        if name == "p3":
            activation = x
    boxes, scores = (y[0] for y in detector.head.decode(detector.head([x])))
    row, class_id = choose_detection(boxes.detach(), scores.detach())
    (gradient,) = torch.autograd.grad(scores[row, class_id], activation)
    torch.testing.assert_close(found.product, gradient_product(activation.detach(), gradient)[0])
    torch.testing.assert_close(found.cam, grad_cam(activation.detach(), gradient)[0])


def test_the_detector_is_left_as_it_was(detector: Detector) -> None:
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    detector.train().requires_grad_(False)
    try:
        with torch.inference_mode():
            assert gradient_map(detector, IMAGES.clone(), detector.layer("p4")).product.any()
        assert detector.training
        assert all(p.grad is None for p in detector.parameters())
        assert not any(module._forward_hooks for module in detector.modules())
        assert all(torch.equal(before[key], value) for key, value in detector.state_dict().items())
    finally:
        detector.eval().requires_grad_(True)


def test_a_layer_on_which_the_box_does_not_rest_is_rejected() -> None:
    model = regard.load("yolov5n")
    with torch.no_grad():
        model.head.m[0].bias.view(3, -1)[:, 4] = 3.0  # found at stride 8, for certain
    with pytest.raises(regard.RegardError, match=r"does not depend on this layer[\s\S]*stride 8"):
        gradient_map(model, IMAGES, model.layer("head.p5_out"))
    assert gradient_map(model, IMAGES, model.layer("head.p3_out")).product.any()
    with pytest.raises(regard.RegardError, match="not a single map"):
        gradient_map(model, IMAGES, model.head)


ROWS = torch.tensor(
    [
        [10.0, 10, 8, 8, 0.09, 0.72],
        [11.0, 10, 8, 8, 0.09, 0.63],  # the same object, suppressed
        [10.0, 10, 40, 40, 0.73, 0.08],  # the best, around the first
        [40.0, 10, 8, 8, 0.45, 0.05],
        [90.0, 90, 8, 8, 0.09, 0.01],  # below the threshold
    ]
)


@pytest.mark.parametrize(
    ("point", "class_id", "expected"),
    [
        (None, None, (2, 0)),
        (None, 1, (0, 1)),
        ((11.0, 10.0), 1, (0, 1)),  # the suppressed one is nearer
        ((29.0, 10.0), None, (2, 0)),  # inside the large box, if nearer to the middle of another
        ((48.0, 11.0), None, (3, 0)),
        ((90.0, 40.0), None, (3, 0)),  # the nearest of those above the threshold
        ((90.0, 90.0), 1, (0, 1)),
    ],
)
def test_the_detection_that_is_meant(
    point: tuple[float, float] | None, class_id: int | None, expected: tuple[int, int]
) -> None:
    assert choose_detection(ROWS[:, :4], ROWS[:, 4:], point=point, class_id=class_id) == expected


def test_where_nothing_scores_the_best_row_is_taken() -> None:
    scores = ROWS[:, 4:] * 0.01
    scores[3, 0] = 0.02
    assert choose_detection(ROWS[:, :4], scores, point=(90.0, 90.0)) == (3, 0)
