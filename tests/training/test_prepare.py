"""A detector made ready for a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from regard.config import TrainSettings
from regard.data.dataset import Sample
from regard.data.formats import load_data
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.training.prepare import class_weights, fit_classes, fit_head, freeze, freeze_bn_stats

DATA = load_data("synthetic:context?train=7&val=2&test=0")


def learning(detector: Detector) -> list[str]:
    return [name for name, layer in detector.named_layers() if any(p.requires_grad for p in layer.parameters())]


def test_classes_of_the_data_are_taken_over(model: Detector) -> None:
    fitted, report = fit_classes(model, DATA)
    assert (fitted.names, report is None) == ({0: "ordinary", 1: "odd"}, False)
    assert fit_classes(fitted, DATA) == (fitted, None)  # itself, where it has them
    more, report = fit_classes(fitted, replace(DATA, names=("odd", "new", "ordinary")))
    assert report is not None
    assert set(report.partly) == {"model.7.m.0.weight", "model.7.m.0.bias"}
    old, new = (d.state_dict()["model.7.m.0.weight"].view(3, -1, 128) for d in (fitted, more))
    assert torch.equal(new[:, [0, 1, 2, 3, 4, 7, 5]], old[:, [0, 1, 2, 3, 4, 5, 6]])


@pytest.mark.parametrize(
    ("names", "frozen"),
    [
        ((), []),
        (("p2",), ["p2"]),
        (("3", "p4"), ["stem", "p2", "p3.down", "p4"]),
        (("backbone",), ["stem", "p2", "p3.down", "p3", "p4.down", "p4"]),
    ],
)
def test_layers_are_frozen_by_name_number_and_part(model: Detector, names: tuple[str, ...], frozen: list[str]) -> None:
    layers = learning(model)
    assert freeze(model, names) == frozen
    assert learning(model) == [name for name in layers if name not in frozen]


def test_what_cannot_be_frozen_is_rejected(model: Detector) -> None:
    with pytest.raises(RegardError, match="did you mean 'backbone'"):
        freeze(model, ["backbon"])
    with pytest.raises(RegardError, match="every layer is frozen"):
        freeze(model, ["99"])


def test_batch_norm_of_frozen_layers_keeps_its_statistics(model: Detector) -> None:
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    freeze(model, ["stem"])
    freeze_bn_stats(model.train(), everywhere=False)
    assert [norm.training for norm in norms] == [False] + [True] * (len(norms) - 1)
    freeze_bn_stats(model.train(), everywhere=True)
    assert not any(norm.training for norm in norms)


def stretched(record: Sample, factor: float) -> Sample:
    return replace(record, boxes_cxcywh=record.boxes_cxcywh * (1, 1, 1, factor))


def test_anchors_are_kept_where_they_reach_the_boxes_and_fitted_where_not(model: Detector) -> None:
    before = model.head.get_buffer("anchors").clone()
    settings = TrainSettings(imgsz=128)
    assert fit_head(model, DATA.splits["train"], settings) == "anchors: best possible recall 1.000"
    assert torch.equal(model.head.get_buffer("anchors"), before)
    flat = [stretched(record, 0.15) for record in DATA.splits["train"]]  # 15 to 24 wide, 2.2 to 3.6 high
    assert (fit_head(model, flat, settings) or "").endswith(", refitted")
    fitted = model.head.get_buffer("anchors")
    assert not torch.equal(fitted, before)
    stated = tuple(round(x, 4) for x in (fitted * 16).flatten().tolist())
    assert model.spec.anchors == (stated,)  # the graph says what the head has
    assert fit_head(model, flat, settings) == "anchors: best possible recall 1.000"


def test_anchors_are_measured_at_the_input_size(model: Detector) -> None:
    # At 512 px a scene of 128 is four times as large: boxes of 60 to 96 against anchors of 15 to 24.
    assert (fit_head(model, DATA.splits["train"], TrainSettings(imgsz=512)) or "").endswith(", refitted")


def test_rare_classes_weigh_more() -> None:
    def sample(ids: list[int], crowd: list[bool] | None = None) -> Sample:
        own = DATA.splits["train"][0]
        boxes = np.full((len(ids), 4), 0.25)
        return replace(own, class_ids=np.array(ids), boxes_cxcywh=boxes, crowd=crowd and np.array(crowd))

    samples = [sample([0] * 3 + [2]), sample([0, 3, 3, 2], [False, True, False, False])]  # counts 4, 0, 2, 1
    assert class_weights(samples, 4, 0.0) is None
    found = class_weights(samples, 4, 0.5)
    assert found is not None
    raw = [4**-0.5, None, 2**-0.5, 1.0]
    mean = sum(w for w in raw if w) / 3  # also the weight of the class without boxes
    assert found == pytest.approx([(w or mean) / mean for w in raw])
