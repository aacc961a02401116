"""The addresses for trainings: the runs of the workspace, as they are and as they change, started and stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool

from regard.errors import RegardError
from regard.studio import answers as a
from regard.studio.bench import Bench
from regard.studio.jobs import Jobs
from regard.studio.workspace import Workspace
from regard.training.history import RunInfo

PERIOD = 1.0
"""Seconds between two looks at the runs."""

RUNS = TypeAdapter(list[RunInfo])


def training(bench: Bench, workspace: Workspace, jobs: Jobs) -> APIRouter:
    """Runs and trainings."""
    router = APIRouter()

    @router.get("/runs")
    def runs() -> list[RunInfo]:
        return jobs.runs()

    @router.get("/runs/events")
    async def events() -> StreamingResponse:
        headers = {"cache-control": "no-store"}
        return StreamingResponse(_changes(jobs), media_type="text/event-stream", headers=headers)

    @router.post("/train")
    def train(asked: a.TrainQuestion) -> a.Saved:
        data = asked.data or workspace.data
        if not data:
            raise RegardError("no data set is given", expected="a folder of the workspace, or synthetic:context")
        if data != workspace.data and not data.startswith("synthetic:"):
            data = str(workspace.find(data))
        settings = asked.model_dump(include={"epochs", "imgsz", "batch", "seed"})
        with bench.working():
            return a.Saved(path=jobs.start(bench.state.built, asked.name, data, settings))

    @router.post("/runs/stop")
    def stop(asked: a.RunQuestion) -> None:
        jobs.stop(asked.run)

    @router.post("/runs/resume")
    def resume(asked: a.RunQuestion) -> None:
        jobs.resume(asked.run)

    return router


async def _changes(jobs: Jobs) -> AsyncIterator[str]:
    """The runs as server-sent events: at first, and whenever they have changed."""
    before = ""
    while True:
        now = json.dumps(RUNS.dump_python(await run_in_threadpool(jobs.runs), mode="json"))
        if now != before:
            yield f"data: {now}\n\n"
        before = now
        await asyncio.sleep(PERIOD)
