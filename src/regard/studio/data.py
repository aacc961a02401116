"""The addresses for data: what a data set contains, its problems, and the errors of the open model on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response

from regard.data.check import CheckReport
from regard.data.statistics import images_of, statistics
from regard.drawing import BLACK, WHITE, encode_image, shrink
from regard.errors import RegardError
from regard.studio import answers as a
from regard.studio import questions as q
from regard.studio.bench import Bench
from regard.studio.desk import Analysis, Check, Desk
from regard.studio.language import Words, titled
from regard.studio.workspace import Workspace, labels_of

FIRST, WORST = 60, 300
"""Problems of one kind, and errors, that are sent to the page."""

THUMBNAIL, MARGIN, MOST_SIDE = 160, 0.6, 1600
"""Longest side in pixels of a cut-out, its margin in sides of the box, and longest side in pixels of an image."""

Pixel = Annotated[float, Query(ge=-1e6, le=1e6)]
"""A coordinate in an image."""


def looking_at_data(bench: Bench, workspace: Workspace, desk: Desk) -> APIRouter:
    """A data set in numbers and images, its problems, and the errors of the open model."""
    router = APIRouter(prefix="/data")
    router.include_router(_errors(bench, desk))
    router.include_router(_checks(desk))

    @router.post("/open")
    def open_data(asked: q.DataQuestion, words: Words) -> a.DataView:
        desk.open_data(workspace.find_data(asked.data))
        data = desk.data
        path = Path(data.source)
        source = str(path.relative_to(workspace.path)) if path.is_relative_to(workspace.path) else path.name
        found = statistics(data)
        objects = replace(found.objects, labels=tuple(titled(label, words) for label in found.objects.labels))
        found = replace(found, objects=objects)
        return a.DataView(source=source, format=data.format, names=list(data.names), statistics=found)

    @router.get("/sample")
    def sample(split: str, index: int) -> a.SampleView:
        one = desk.sample(split, index)
        pixels, found = one.image.read(), desk.detections(split, index)
        return a.SampleView(
            name=Path(one.image.name).name,
            width=pixels.shape[1],
            height=pixels.shape[0],
            labels=a.boxes_of(labels_of(one, pixels, dict(enumerate(desk.data.names)))),
            detections=[] if found is None else a.boxes_of(found),
        )

    @router.get("/image")
    def image(split: str, index: int) -> Response:
        pixels = shrink(desk.sample(split, index).image.read(), MOST_SIDE)
        return Response(encode_image(pixels, ".jpg", 90), media_type="image/jpeg")

    @router.get("/thumbnail")
    def thumbnail(split: str, index: int, left: Pixel, top: Pixel, right: Pixel, bottom: Pixel) -> Response:
        if right < left or bottom < top:
            raise RegardError("the right or lower edge of the box lies before the other")
        pixels = desk.sample(split, index).image.read()
        room = MARGIN * max(right - left, bottom - top, 8)
        x1, x2 = np.clip([left - room, right + room], 0, pixels.shape[1]).astype(int).tolist()
        y1, y2 = np.clip([top - room, bottom + room], 0, pixels.shape[0]).astype(int).tolist()
        part = shrink(np.ascontiguousarray(pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]), THUMBNAIL)
        scale = part.shape[1] / max(x2 - x1, 1)
        corners = [round(scale * value) for value in (left - x1, top - y1, right - x1, bottom - y1)]
        for colour, width in ((BLACK, 3), (WHITE, 1)):
            cv2.rectangle(part, corners[:2], corners[2:], colour, width)
        return Response(encode_image(part, ".jpg", 85), media_type="image/jpeg")

    return router


def _checks(desk: Desk) -> APIRouter:
    """The check of all images: started, watched and stopped."""
    router = APIRouter(prefix="/check")

    @router.post("")
    def start(words: Words) -> a.Checked:
        return _checked(desk, desk.check(), words)

    @router.get("")
    def progress(words: Words) -> a.Checked | None:
        return None if desk.checking is None else _checked(desk, desk.checking, words)

    @router.post("/stop")
    def stop() -> None:
        if desk.checking:
            desk.checking.stop()

    return router


def _checked(desk: Desk, check: Check, words: Words) -> a.Checked:
    state, report = check.state, check.report
    found = _findings(desk, report, words) if state == "finished" and report else []
    return a.Checked(state=state, done=check.done, total=check.total, fault=words(check.fault), findings=found)


def _errors(bench: Bench, desk: Desk) -> APIRouter:
    """The analysis of errors: started, watched and stopped."""
    router = APIRouter(prefix="/errors")

    @router.post("")
    def start(asked: q.ErrorsQuestion) -> a.Errors:
        with bench.working():
            model = bench.state.built
            return _progress(desk.analyse(model, asked.split, asked.imgsz, asked.conf))

    @router.get("")
    def progress(words: Words, kind: str = "", name: str = "") -> a.Errors | None:
        if desk.analysis is None:
            return None
        found = _progress(desk.analysis, kind, name)
        return found.model_copy(update={"fault": words(found.fault)})

    @router.post("/stop")
    def stop() -> None:
        if desk.analysis:
            desk.analysis.stop()

    return router


def _findings(desk: Desk, report: CheckReport, words: Words) -> list[a.Findings]:
    problems = report.problems
    groups: dict[tuple[str, str, bool], list[a.Finding]] = {}
    root = f"{Path(desk.data.source).parent}/"
    for problem, image in zip(problems, images_of(problems, desk.data), strict=True):
        place = None if image is None else a.Place(split=image[0], index=image[1])
        where, found = (text.replace(root, "") for text in (problem.where, problem.found))
        groups.setdefault((problem.kind, problem.done, problem.lost), []).append(
            a.Finding(where=words(where), found=words(found), image=place)
        )
    findings = [
        a.Findings(kind=words(kind), done=words(done), lost=lost, count=len(members), first=members[:FIRST])
        for (kind, done, lost), members in groups.items()
    ]
    return sorted(findings, key=lambda one: (not one.lost, -one.count))


def _progress(analysis: Analysis, kind: str = "", name: str = "") -> a.Errors:
    metrics = analysis.metrics if analysis.state == "finished" else None
    return a.Errors(
        state=analysis.state,
        split=analysis.split,
        done=analysis.done,
        total=len(analysis.samples),
        fault=analysis.fault,
        ap=_number(metrics.ap if metrics else None),
        ap50=_number(metrics.ap50 if metrics else None),
        kinds=dict(Counter(error.kind for error in analysis.errors)),
        worst=list(islice(_mistakes(analysis, kind, name), WORST)),
    )


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _mistakes(analysis: Analysis, kind: str, name: str) -> Iterable[a.Mistake]:
    for error in analysis.errors:
        own = analysis.names[error.class_id]
        if kind in ("", error.kind) and name in ("", own):
            yield a.Mistake(
                image=a.Place(split=analysis.split, index=error.image),
                kind=error.kind,
                box=error.box_xyxy,
                name=own,
                other="" if error.other is None else analysis.names[error.other],
                score=error.score,
                iou=error.iou,
                badness=error.badness,
            )
