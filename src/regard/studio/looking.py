"""The addresses for images: what the detector finds in them, and what its layers attend to."""

from __future__ import annotations

from functools import partial
from statistics import median

import cv2
import torch
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from regard.config import DetectSettings
from regard.data.images import decode_bytes, undecoded
from regard.graph.detector import Detector
from regard.prediction.detect import candidates
from regard.profiling.latency import latencies_in_turn
from regard.profiling.report import cost
from regard.studio import answers as a
from regard.studio import questions as q
from regard.studio.bench import Bench, Image, Shown, State
from regard.studio.language import Words, titled
from regard.studio.workspace import Workspace
from regard.visualize.attend import attend
from regard.visualize.features import features
from regard.visualize.panels import channels_of, panels_of

LEAST_CONF = 0.01
"""Smallest score of the boxes that are kept for other thresholds."""

MOST_SIDE = 1600
"""Longest side in pixels of an image that is sent to the page."""

REPEATS = 5
"""Timed runs of a measurement."""


def looking(bench: Bench, workspace: Workspace) -> APIRouter:
    """Images, detections, attention maps and measurements."""
    router = APIRouter()
    router.include_router(_images(bench, workspace))

    @router.post("/detect")
    def detect(asked: q.DetectQuestion) -> a.Detected:
        with bench.working():
            shown, (state, position) = bench.image(asked.image), _chosen(bench, asked.base)
            if position not in shown.candidates:
                size = state.diagram.imgsz
                shown.candidates[position] = candidates(state.built, shown.pixels, imgsz=size, conf=LEAST_CONF)
            found = shown.candidates[position]
        return a.Detected(boxes=a.boxes_of(found.detections(DetectSettings(conf=asked.conf, iou=asked.iou))))

    @router.post("/attend")
    def look(asked: q.AttendQuestion, words: Words) -> a.Maps:
        with bench.working():
            found = _maps(bench.image(asked.image), _chosen(bench, asked.base)[0], asked)
        grids = [grid.model_copy(update={"heading": titled(grid.heading, words)}) for grid in found.grids]
        return found.model_copy(update={"title": titled(found.title, words), "grids": grids})

    @router.post("/cost")
    def measure() -> a.Timed:
        with bench.working():
            edited, imgsz = bench.view(bench.state.built), bench.state.diagram.imgsz
            before = bench.base
            known = before.detector if bench.state.edits else None
            base = None if known is None else bench.view(known)
        found = _timed(edited, base, imgsz)
        with bench.working():
            newest = found.total if found.base_total is None else found.base_total
            bench.rebase_latency(before, newest / 1e3)
        return found

    return router


def _images(bench: Bench, workspace: Workspace) -> APIRouter:
    """Images from the page, the workspace and the data set, and their pixels for the page."""
    router = APIRouter()

    def keep(pixels: Image, name: str) -> a.Kept:
        with bench.working():
            key = bench.add_image(pixels, name)
        return a.Kept(key=key, name=name, width=pixels.shape[1], height=pixels.shape[0])

    @router.post("/image")
    async def upload(request: Request, name: str = "image") -> a.Kept:
        content = await request.body()

        def decoded() -> a.Kept:
            pixels = decode_bytes(content)
            if pixels is None:
                raise undecoded(content, f"{name!r:.200}")
            return keep(pixels, name)

        return await run_in_threadpool(decoded)  # the server answers others meanwhile

    @router.post("/image/open")
    def open_image(asked: q.OpenQuestion) -> a.Kept:
        return keep(workspace.read_image(asked.source), asked.source)

    @router.get("/samples")
    def samples() -> list[str]:
        return list(workspace.samples)

    @router.post("/image/sample")
    def open_sample(asked: q.OpenQuestion) -> a.Kept:
        pixels, labels = workspace.read_sample(asked.source)
        return keep(pixels, asked.source).model_copy(update={"labels": a.boxes_of(labels)})

    @router.get("/image/{key}")
    def image(key: str) -> Response:
        with bench.working():
            pixels = bench.image(key).pixels
        scale = min(MOST_SIDE / max(pixels.shape[:2]), 1)
        size = (max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1))
        reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(reduced, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
        return Response(encoded.tobytes(), media_type="image/jpeg")

    return router


def _chosen(bench: Bench, base: bool) -> tuple[State, int]:
    return (bench.base, bench.state.root) if base else (bench.state, bench.position)


def _maps(shown: Shown, state: State, asked: q.AttendQuestion) -> a.Maps:
    model, size = state.built, state.diagram.imgsz
    if asked.kind == "features":
        found = features(model, shown.pixels, layer=asked.layer, imgsz=size)
        return a.Maps.of(f"{found.layer}: feature maps", found.panels, found.placement, found.input_size)
    point = None if asked.x is None or asked.y is None else (asked.x, asked.y)
    view = attend(model, shown.pixels, layer=asked.layer, query=point, kind=asked.kind, imgsz=size)
    channels, box = channels_of(view.map), view.box_xyxy
    return a.Maps.of(
        view.title,
        panels_of(view.map),
        view.placement,
        view.input_size,
        channels=None if channels is None else [round(float(value), 5) for value in channels],
        query=view.query,
        box=None if box is None else tuple(box.reshape(-1).tolist()),
    )


def _timed(edited: Detector, base: Detector | None, imgsz: int) -> a.Timed:
    report = cost(edited, imgsz=imgsz, repeats=REPEATS)
    base_total = None if base is None else report.milliseconds * _ratio(base, edited, report.imgsz)
    return a.Timed(
        milliseconds={row.name: row.milliseconds for row in report.rows},
        peak_mib={row.name: row.peak_mib for row in report.rows},
        total=report.milliseconds,
        base_total=base_total,
        device=report.device,
        imgsz=report.imgsz,
    )


def _ratio(base: Detector, edited: Detector, imgsz: int) -> float:
    """Latency of ``base`` over that of ``edited``, measured in turn, so that the load of the machine is alike."""
    device = next(edited.parameters()).device
    images = torch.rand(1, 3, imgsz, imgsz, device=device)
    runs = [partial(detector.eval().raw, images.to(next(detector.parameters()).device)) for detector in (base, edited)]
    ours, theirs = (median(times) for times in latencies_in_turn(runs, device, REPEATS))
    return ours / theirs
