"""The addresses for trainings and studies: started from forms, watched, compared, stopped and resumed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from regard.ablate.listing import StudyInfo, StudyVerdict, forest_svg, read_own_study, studies_below, verdict_so_far
from regard.ablate.plan import Plan, make_plan, parse_seeds
from regard.config import TrainSettings, checked
from regard.config.form import FormField, form_of, values_of
from regard.config.hyp import RECIPES
from regard.graph.read import zoo
from regard.studio import answers as a
from regard.studio import questions as q
from regard.studio.bench import Bench
from regard.studio.jobs import Jobs
from regard.studio.language import Words, relative_texts
from regard.studio.workspace import Workspace
from regard.training.history import RunComparison, RunInfo, State, compare_runs

R = TypeVar("R", RunInfo, StudyInfo)

PERIOD = 1.0
"""Seconds between two looks at the runs."""

NOT_ASKED = ("base", "data", "module")
"""Settings of a study that its form asks for by itself, or not at all."""


def training(bench: Bench, workspace: Workspace, jobs: Jobs) -> APIRouter:
    """Runs and studies as they are and as they change, and what stops and resumes them."""
    router = APIRouter()
    router.include_router(_starting(bench, workspace, jobs))
    router.include_router(_studies(workspace))

    @router.get("/runs")
    def runs() -> list[RunInfo]:
        return jobs.runs()

    @router.get("/jobs")
    def work(words: Words) -> a.Work:
        return work_of(jobs, words)

    @router.get("/jobs/events")
    async def events(words: Words) -> StreamingResponse:
        headers = {"cache-control": "no-store"}
        return StreamingResponse(_changes(jobs, words), media_type="text/event-stream", headers=headers)

    @router.post("/runs/compare")
    def compare(asked: q.CompareQuestion) -> RunComparison:
        for name in asked.runs:
            workspace.find(name)
        return compare_runs(workspace.path, asked.runs)

    @router.post("/runs/stop")
    def stop(asked: q.RunQuestion) -> None:
        jobs.stop(asked.run)

    @router.post("/runs/discard")
    def discard(asked: q.RunQuestion) -> None:
        jobs.discard(asked.run)

    @router.post("/runs/resume")
    def resume(asked: q.RunQuestion) -> None:
        workspace.check_reads(asked.run)
        jobs.resume(asked.run)

    return router


def _starting(bench: Bench, workspace: Workspace, jobs: Jobs) -> APIRouter:
    """The forms, and what they start."""
    router = APIRouter()

    @router.get("/settings/train")
    def train_form(words: Words) -> list[FormField]:
        return form_of(TrainSettings, words=words)

    @router.get("/settings/study")
    def study_form(words: Words) -> list[FormField]:
        return form_of(Plan, NOT_ASKED, words)

    @router.post("/train")
    def train(asked: q.TrainQuestion) -> a.Started:
        data, settings = workspace.find_data(asked.data), values_of(TrainSettings, asked.settings)
        if "recipe" in settings:
            settings["recipe"] = _located(workspace, settings["recipe"], RECIPES)
        checked(TrainSettings, settings)
        with bench.working():
            return a.Started(path=jobs.train(bench.state.built, asked.name, data, settings))

    @router.post("/study")
    def study(asked: q.StudyQuestion) -> a.Started:
        plan = _plan(workspace, asked)
        with bench.working():
            model = None if asked.base else bench.base.built
            if not plan.question:
                what = f"Does a change of {asked.base or bench.source} improve it on {asked.data or workspace.data}?"
                plan = plan.model_copy(update={"question": what})
            return a.Started(path=jobs.study(model, asked.name, plan))

    return router


def _studies(workspace: Workspace) -> APIRouter:
    """What studies have shown so far."""
    router = APIRouter()

    @router.get("/study/verdict")
    def verdict(study: str, words: Words) -> StudyVerdict:
        found = verdict_so_far(read_own_study(workspace.find(study)))
        return StudyVerdict(words(found.headline), tuple(map(words, found.sentences)), words(found.needed))

    @router.get("/study/forest")
    def forest(study: str, wide: bool = True, dark: bool = False) -> Response:
        svg = forest_svg(read_own_study(workspace.find(study)), wide=wide, dark=dark)
        return Response(svg, media_type="image/svg+xml")

    return router


def _located(workspace: Workspace, source: Any, names: Mapping[str, object] | list[str]) -> str:
    """A name from a table as it is; anything else as a file of the workspace."""
    return str(source) if source in names else str(workspace.find_model(str(source)))


def _plan(workspace: Workspace, asked: q.StudyQuestion) -> Plan:
    """The plan that is asked for, with all its files in the workspace."""
    given = {k: v for k, v in asked.settings.items() if k not in NOT_ASKED}
    seeds = given.pop("seeds", "")
    values = values_of(Plan, given)
    if seeds:
        values["seeds"] = parse_seeds(str(seeds))
    for name, table in (("weights", []), ("recipe", RECIPES)):
        if name in values:
            values[name] = _located(workspace, values[name], table)
    if "model" in values:
        values["model"] = [_located(workspace, model, zoo()) for model in values["model"]]
    base = _located(workspace, asked.base, zoo()) if asked.base else "the open model"
    return make_plan({**values, "base": base, "data": workspace.find_data(asked.data)})


def work_of(jobs: Jobs, words: Callable[[str], str]) -> a.Work:
    """All runs and studies, with what waits or is being set up, which their files alone do not tell."""
    running, waiting = jobs.at_work()

    def shown(one: R) -> R:
        state: State = one.state
        if one.state != "running" and one.name in (*running, *waiting):
            state = "starting" if one.name in running else "waiting"
        return replace(one, state=state, fault="" if state != one.state else _in_words(one.fault, words))

    pending = [replace(one, fault=_in_words(one.fault, words)) for one in jobs.pending(running, waiting)]
    studies = [shown(one) for one in studies_below(jobs.workspace)]
    return a.Work(
        runs=[shown(one) for one in jobs.runs()], studies=studies, waiting=waiting, running=running, pending=pending
    )


def _in_words(fault: str, words: Callable[[str], str]) -> str:
    """Translate an error that a command has printed: its lines, the first perhaps after the name of a file."""
    found = []
    for line in fault.splitlines():
        text = words(line.strip())
        file, colon, rest = line.strip().partition(": ")
        found.append(f"{file}{colon}{words(rest)}" if colon and text == line.strip() else text)
    return "\n".join(found)


async def _changes(jobs: Jobs, words: Callable[[str], str]) -> AsyncIterator[str]:
    """The runs and studies as server-sent events: at first, and whenever they have changed."""
    before, relative = "", relative_texts(jobs.workspace)
    while True:
        now = json.dumps(relative((await run_in_threadpool(work_of, jobs, words)).model_dump(mode="json")))
        if now != before:
            yield f"data: {now}\n\n"
        before = now
        await asyncio.sleep(PERIOD)
