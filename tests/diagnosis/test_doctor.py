"""Each fault is found by its own cause, in the folders of all packages, and a healthy run has none."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
from chinese import WORDS, english_in
from run_folders import PACKAGES, Run, curve, detector_of, fine_tuned, graph_of, write_image

import regard
from regard.system.translation import translate_into

Fault = Callable[[Run], None]


def diverges(run: Run) -> None:
    name = {"regard": "train/box", "yolov5": "train/cls_loss", "ultralytics": "train/dfl_loss"}[run.package]
    run.columns[name] = [0.5] * 7 + [math.nan] * (run.epochs - 7)


def collapses(run: Run) -> None:
    run.ap = curve(400)[:310] + [0.001] * 90


def has_no_ap_in_the_end(run: Run) -> None:
    run.ap = curve(400)[:310] + [math.nan] * 90


def has_a_loss_that_jumps(run: Run) -> None:
    name = {"regard": "train/box", "yolov5": "train/cls_loss", "ultralytics": "train/dfl_loss"}[run.package]
    run.columns[name] = [0.5] * 311 + [7.0] * (run.epochs - 311)


def detects_nothing(run: Run) -> None:
    run.ap = [0.0] * 400


def is_never_validated(run: Run) -> None:
    run.ap = [math.nan] * 400


def has_no_labels(run: Run) -> None:
    shutil.rmtree(run.data / "labels")


def has_no_train_labels(run: Run) -> None:
    shutil.rmtree(run.data / "labels/train")


def has_empty_train_labels(run: Run) -> None:
    for file in (run.data / "labels/train").iterdir():
        file.write_text("")


def has_no_val_labels(run: Run) -> None:
    shutil.rmtree(run.data / "labels/val")


def has_labels_of_some_images(run: Run) -> None:
    for i in range(5):
        (run.data / f"labels/train/train{i}.txt").unlink()


def never_trains_a_class(run: Run) -> None:
    for file in (run.data / "labels/train").iterdir():
        file.write_text(file.read_text().splitlines()[0] + "\n")


def gets_a_class_at_the_front(run: Run) -> None:
    file = run.data / "data.yaml"
    file.write_text(file.read_text().replace("[cat", "[bird, cat"))


def gets_a_class_at_the_end(run: Run) -> None:
    file = run.data / "data.yaml"
    file.write_text(file.read_text().replace("dog]", "dog, bird]"))


def has_other_classes(run: Run) -> None:
    file = run.data / "data.yaml"
    file.write_text(file.read_text().replace("dog", "wolf"))


def has_its_classes_turned_and_spelled(run: Run) -> None:
    run.names = ("Dog", "CAT")


def is_miswired(run: Run) -> None:
    graph = graph_of(run.package, run.anchors)
    graph["backbone"][5] = [4, 1, "Conv", [40, 3, 2]]  # nothing reads the row that was inserted before it
    graph["backbone"].insert(5, [-1, 1, "SE", [32]])
    graph["backbone"][6] = [4, 1, "Conv", [40, 3, 2]]
    graph["head"][0][0] = [4, 7]
    run.graph = graph


def has_its_classes_turned(run: Run) -> None:
    run.names = ("dog", "cat")


def has_labels_out_of_range(run: Run) -> None:
    write_image(run.data, "train", "train3", 3, "0 0.3 0.3 0.2 0.2\n2 0.7 0.7 0.3 0.3\n")


def has_labels_of_upper_left_corners(run: Run) -> None:
    for split in ("train", "val"):
        for file in (run.data / "labels" / split).iterdir():
            file.write_text("0 0.05 0.1 0.3 0.4\n1 0.6 0.5 0.35 0.45\n")


def has_labels_of_corners(run: Run) -> None:
    for split in ("train", "val"):
        for file in (run.data / "labels" / split).iterdir():
            file.write_text("0 0.05 0.1 0.3 0.4\n1 0.6 0.5 0.95 0.9\n")


def starts_fresh(run: Run) -> None:
    run.has_start = False


def lost_its_weights(run: Run) -> None:
    torch.manual_seed(1)
    run.trained = detector_of(graph_of(run.package, run.anchors))


def is_loaded_by_position(run: Run) -> None:
    """Two rows of equal shapes stand where there was one, and tensors were taken over by the number of their row."""
    anchors = run.anchors
    run.start_graph, graph = graph_of(run.package, anchors), graph_of(run.package, anchors)
    for made in (run.start_graph, graph):
        made["backbone"][4:4] = [[-1, 1, "Conv", [32, 3, 1]], [-1, 1, "Conv", [32, 3, 1]]]
        made["head"][0][0] = [6, 8]
    graph["backbone"].insert(3, [-1, 1, "SE", [24]])
    graph["head"][0][0] = [7, 9]
    run.graph = graph
    torch.manual_seed(0)
    start, trained = detector_of(run.start_graph), detector_of(graph)
    ours = start.state_dict()
    with torch.no_grad():
        for key, tensor in trained.state_dict().items():
            if key in ours and ours[key].shape == tensor.shape:
                tensor.copy_(ours[key])
    run.trained = fine_tuned(trained)


def warms_up_too_long(run: Run) -> None:
    if run.package == "yolov5":
        run.epochs = 150  # of one step: at least 100 steps
    elif run.package == "regard":
        run.warmup = 500
    else:
        run.epochs, run.batch, run.nominal, run.warmup, run.lr = 7, 1, 1, 7, 0.002  # six of seven epochs


def learns_too_fast(run: Run) -> None:
    run.lr = 0.9


def learns_adam_at_the_rate_of_sgd(run: Run) -> None:
    run.optimizer, run.lr = "AdamW", 0.03


def is_updated_rarely(run: Run) -> None:
    run.batch, run.nominal = (2, 256) if run.package != "yolov5" else (2, 64)
    if run.package == "yolov5":
        run.epochs = 100
    elif run.package == "regard":
        run.epochs = 200  # each of which ends with an update
    run.ap = curve(run.epochs, 0.2)


def is_trained_for_a_few_steps(run: Run) -> None:
    run.epochs, run.batch = 9, 4  # of four steps
    run.warmup = 1
    run.nominal = 4 if run.package == "ultralytics" else 0


def stops_early(run: Run) -> None:
    run.patience = 30
    run.ap = curve(60, 0.5)[:30] + [0.3] * 31


def is_interrupted(run: Run) -> None:
    run.ap = curve(400)[:200]


def is_too_short(run: Run) -> None:
    run.ap = [0.4 * (epoch / run.epochs) for epoch in range(1, run.epochs + 1)]


def has_a_closed_gate(run: Run) -> None:
    run.columns["gate/p3.se"] = [2e-5] * run.epochs


def has_a_closed_gate_in_its_weights(run: Run) -> None:
    run.graph = graph_of(run.package, run.anchors)
    run.graph["backbone"].insert(5, [-1, 1, "GatedSE", [32]])
    run.graph["head"][0][0] = [5, 7]
    run.start_graph = run.graph
    run.trained = fine_tuned(detector_of(run.graph))


def has_anchors_that_miss(run: Run) -> None:
    run.anchors = [[2, 3, 3, 2, 4, 4], [5, 6, 6, 5, 7, 7]]


def has_objects_of_a_pixel(run: Run) -> None:
    for i in range(5):
        write_image(run.data, "train", f"train{i}", i, "0 0.3 0.3 0.004 0.003\n1 0.7 0.7 0.3 0.3\n")


def trains_on_val(run: Run) -> None:
    (run.data / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/train\nnames: [cat, dog]\n")


def copies_into_val(run: Run) -> None:
    shutil.copy(run.data / "images/train/train2.png", run.data / "images/val/val1.png")


def films_into_val(run: Run) -> None:
    image = cv2.imread(str(run.data / "images/train/train2.png"))
    cv2.imwrite(str(run.data / "images/val/val1.png"), cv2.resize(image, (101, 67), interpolation=cv2.INTER_AREA))


def mirrors_into_val(run: Run) -> None:
    image = cv2.imread(str(run.data / "images/train/train2.png"))
    assert image is not None
    cv2.imwrite(str(run.data / "images/val/val1.png"), cv2.convertScaleAbs(image[:, ::-1], alpha=0.8))


ALL = PACKAGES
FAULTS: tuple[tuple[Fault, str, tuple[str, ...]], ...] = (
    (diverges, "diverged", ALL),
    (collapses, "diverged", ALL),
    (has_no_ap_in_the_end, "diverged", ALL),
    (has_a_loss_that_jumps, "diverged", ALL),
    (detects_nothing, "no_ap", ALL),
    (is_never_validated, "no_ap", ALL),
    (has_no_labels, "labels", ALL),
    (has_no_train_labels, "labels", ALL),
    (has_empty_train_labels, "labels", ALL),
    (has_no_val_labels, "labels", ALL),
    (has_labels_of_some_images, "labels", ALL),
    (never_trains_a_class, "labels", ALL),
    (gets_a_class_at_the_front, "class_order", ALL),
    (gets_a_class_at_the_end, "class_order", ALL),
    (has_other_classes, "class_order", ALL),
    (has_its_classes_turned_and_spelled, "class_order", ALL),
    (is_miswired, "wiring", ALL),
    (has_its_classes_turned, "class_order", ALL),
    (has_labels_out_of_range, "labels", ALL),
    (has_labels_of_upper_left_corners, "labels", ALL),
    (has_labels_of_corners, "labels", ALL),
    (starts_fresh, "start_weights", ALL),
    (lost_its_weights, "start_weights", ALL),
    (is_loaded_by_position, "start_weights", ALL),
    (warms_up_too_long, "warm_up", ALL),
    (learns_too_fast, "learning_rate", ALL),
    (learns_adam_at_the_rate_of_sgd, "learning_rate", ALL),
    (is_updated_rarely, "few_updates", ALL),
    (is_trained_for_a_few_steps, "few_updates", ("regard", "ultralytics")),
    (stops_early, "early_stop", ALL),
    (is_interrupted, "early_stop", ALL),
    (is_too_short, "still_rising", ALL),
    (has_a_closed_gate, "closed_gate", ALL),
    (has_a_closed_gate_in_its_weights, "closed_gate", ("yolov5", "ultralytics")),
    (has_anchors_that_miss, "anchors", ("regard", "yolov5")),
    (has_objects_of_a_pixel, "small_boxes", ALL),
    (trains_on_val, "same_images", ALL),
    (copies_into_val, "duplicates", ALL),
    (films_into_val, "near_duplicates", ALL),
    (mirrors_into_val, "near_duplicates", ALL),
)


@pytest.fixture(params=PACKAGES)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    return Run(tmp_path, request.param)


def test_other_spellings_of_the_classes_are_no_fault(tmp_path: Path) -> None:
    assert not regard.doctor(Run(tmp_path, "yolov5", names=("CAT", "dog ")).write(), quick=True).findings


def test_a_healthy_run_has_a_clean_bill(run: Run) -> None:
    found = regard.doctor(run.write())
    assert found.package == run.package
    assert not found.findings, found
    assert found.is_healthy
    assert not found.skipped
    assert f"best AP {max(curve(run.epochs)):.3f}" in found.result


@pytest.mark.parametrize(
    ("fault", "cause", "package"),
    [
        pytest.param(fault, cause, package, id=f"{fault.__name__}-{package}", marks=() if fast else pytest.mark.slow)
        for i, (fault, cause, packages) in enumerate(FAULTS)
        for package in packages
        for fast in (package == packages[i % len(packages)],)  # each fault with one package; all are slow tests
    ],
)
def test_a_fault_is_found_by_its_cause_alone(fault: Fault, cause: str, package: str, tmp_path: Path) -> None:
    run = Run(tmp_path, package)
    fault(run)
    found = regard.doctor(run.write())
    assert [finding.cause for finding in found.findings] == [cause], found
    assert not found.is_healthy
    finding = found.findings[0]
    assert finding.evidence
    assert finding.advice
    assert "\n" not in finding.evidence + finding.advice
    texts = found.result, finding.evidence, finding.advice
    for text in texts[2 * (fault is has_labels_out_of_range) :]:  # problems of rows are in English
        assert english_in(translate_into(text, "zh-TW")) <= WORDS, translate_into(text, "zh-TW")
