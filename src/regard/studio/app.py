"""The server's addresses: each calls functions of the API on the detector of the bench and returns their values."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from regard.api.catalogue import Entry, catalogue, option_cost, place_costs
from regard.api.edits import Edit, recipe
from regard.errors import RegardError, RegardWarning
from regard.graph.correct import corrected_text
from regard.graph.read import GRAPHS, zoo
from regard.graph.renumber import renumbering
from regard.profiling.catalogue import PlaceCost
from regard.studio import answers as a
from regard.studio import questions as q
from regard.studio.bench import Bench, StaleError, State
from regard.studio.comparing import comparing
from regard.studio.data import looking_at_data
from regard.studio.desk import Desk
from regard.studio.jobs import Jobs
from regard.studio.language import Words, answers_with, relative_texts, words_of
from regard.studio.looking import looking
from regard.studio.playing import playing
from regard.studio.training import training
from regard.studio.workspace import Workspace
from regard.system.last_resort import last_word
from regard.system.loaders import parse_yaml

PAGE = Path(__file__).parent / "page"
VERSION_HEADER = "x-regard-version"
"""What a request names that is about the model that its page shows."""

log = logging.getLogger("regard.studio")


def make_app(bench: Bench, workspace: Workspace, modules: Sequence[str] = ()) -> FastAPI:
    """Make the application; `regard.studio.guard` must stand before it."""
    relative = relative_texts(workspace.path)
    app = FastAPI(
        title="regard studio",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses={422: {"model": a.Fault}},
        default_response_class=answers_with(relative),
    )
    app.state.relative = relative
    jobs = Jobs(workspace.path, modules)
    looks = looking(bench, workspace)
    data = looking_at_data(bench, workspace, Desk())
    work = training(bench, workspace, jobs)
    current = [Depends(_current(bench))]
    app.include_router(_shown(bench, workspace), prefix="/api")
    opening, editing, compared = _opening(bench, workspace), _editing(bench, workspace), comparing(bench, workspace)
    for router in (opening, editing, _catalogue(bench), compared, looks, playing(bench, workspace), data, work):
        app.include_router(router, prefix="/api", dependencies=current)
    app.add_exception_handler(RegardError, _of_regard_error)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_anything)
    if (PAGE / "index.html").is_file():
        app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _current(bench: Bench) -> Callable[[Request], Awaitable[None]]:
    """Reject what a page asks that does not show what is open now: it would change, save or describe another model."""

    async def check(request: Request) -> None:
        shown = request.headers.get(VERSION_HEADER)
        if shown is not None and shown != str(bench.version):
            raise StaleError("the model was changed from another page", hint="look at it, and ask again")

    return check


def opened(bench: Bench, words: Words) -> a.Opened:
    """Describe the open model; ``words`` translates the messages."""
    state, base = bench.state, bench.base
    integers, fault = None, ""
    try:
        if state.detector is not None and base.detector is not None:
            integers = renumbering(base.spec, state.spec, Path(bench.source))
    except RegardError as error:
        fault = error.what
    return a.Opened(
        version=bench.version,
        unsaved=bench.unsaved,
        trained=bench.trained,
        given=_given(state, words),
        source=bench.source,
        text=state.text,
        diagram=state.diagram,
        difference=bench.difference(),
        edits=[edit.python() for edit in state.edits],
        recipe=recipe(state.edits, bench.start, bench.references(), state.given),
        undo=bench.position > 0,
        redo=bench.position < len(bench.states) - 1,
        findings=[replace(one, message=words(one.message)) for one in state.findings],
        integers=integers,
        integers_fault=words(fault),
    )


def _given(state: State, words: Words) -> a.Given | None:
    report = state.transfer
    if report is None:
        return None
    return a.Given(
        file=state.given,
        kept=len(report.kept) + len(report.moved),
        partly=len(report.partly),
        tensors=len(report.layer_of),
        report=[words(line.strip()) for line in report.to_text().splitlines()],
    )


def _answer(bench: Bench, words: Words, act: Callable[[], object]) -> a.Opened:
    """Act on the bench, and describe what is open then, with the warnings that came of it."""
    with bench.changing(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RegardWarning)
        act()
        said = dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, RegardWarning))
        return opened(bench, words).model_copy(update={"warnings": [words(text) for text in said]})


def _shown(bench: Bench, workspace: Workspace) -> APIRouter:
    """What is open, and what there is to open."""
    router = APIRouter()

    @router.get("/state")
    def state(words: Words) -> a.Opened:
        with bench.working():
            return opened(bench, words)

    @router.get("/version")
    async def version() -> int:
        return bench.version

    @router.get("/files")
    def files() -> a.Files:
        return a.Files(
            zoo=zoo(),
            models=workspace.models(),
            weights=workspace.weights(),
            images=workspace.images(),
            videos=workspace.videos(),
            data=workspace.data,
        )

    return router


def _opening(bench: Bench, workspace: Workspace) -> APIRouter:
    """Opening a model, and correcting it."""
    router = APIRouter()

    @router.post("/open")
    def open_model(asked: q.OpenQuestion, words: Words) -> a.Opened:
        source = asked.source if asked.source in zoo() else workspace.find_model(asked.source)
        return _answer(bench, words, lambda: bench.open_model(source, asked.source))

    @router.post("/open-text")
    def open_text(asked: q.TextQuestion, words: Words) -> a.Opened:
        if not asked.name.lower().endswith(GRAPHS):
            what = f"{Path(asked.name).name!r:.200} is no YAML file"
            raise RegardError(what, expected=" or ".join(GRAPHS), hint="open weights from the workspace")
        file = workspace.path / Path(asked.name).name
        workspace.check_bases(asked.text, file)
        return _answer(bench, words, lambda: bench.open_text(asked.text, file.name, workspace.path))

    @router.post("/weights")
    def give_weights(asked: q.WeightsQuestion, words: Words) -> a.Opened:
        path = workspace.find_weights(asked.source)
        return _answer(bench, words, lambda: bench.give_weights(path, asked.source))

    @router.post("/correct")
    def correct(asked: q.CorrectQuestion, words: Words) -> a.Opened:
        def act() -> None:
            chosen = [finding for finding in bench.state.findings if finding.line in asked.lines and finding.row]
            if not chosen:
                raise RegardError("there is nothing to correct in these lines")
            bench.correct(corrected_text(bench.state.text, chosen), workspace.path)

        return _answer(bench, words, act)

    return router


def _editing(bench: Bench, workspace: Workspace) -> APIRouter:
    """Editing and saving."""
    router = APIRouter()

    @router.post("/edit")
    def edit(asked: q.EditQuestion, words: Words) -> a.Opened:
        options = _options(asked.options)
        readers = tuple(asked.readers) if asked.readers else None
        wanted = Edit(asked.kind, asked.layer, asked.module, options, asked.gate, readers)
        return _answer(bench, words, lambda: bench.apply(wanted))

    @router.post("/undo")
    def undo(words: Words) -> a.Opened:
        return _answer(bench, words, lambda: bench.move(-1))

    @router.post("/redo")
    def redo(words: Words) -> a.Opened:
        return _answer(bench, words, lambda: bench.move(1))

    @router.get("/latency")
    def latency() -> a.Predicted:
        model, predicted = bench.predicted()
        return a.Predicted(base=1e3 * model.base, edited=predicted, imgsz=model.imgsz)

    @router.post("/save")
    def save(asked: q.SaveQuestion) -> a.Saved:
        with bench.working():
            path = workspace.save(bench, asked)
            gates = any(layer.gate for layer in bench.state.spec.layers)
            if not (asked.form == "integers" and asked.ungated and gates):  # the file is of another network
                bench.mark_saved()
        return a.Saved(path=path, unsaved=bench.unsaved)

    return router


def _catalogue(bench: Bench) -> APIRouter:
    """What can be put in, and what it costs."""
    router = APIRouter()

    @router.get("/catalogue")
    def listed(words: Words) -> list[Entry]:
        return [_in_words(entry, words) for entry in catalogue(bench.modules)]

    @router.get("/catalogue/costs")
    def costs(after: str, words: Words, gate: bool = False) -> list[PlaceCost]:
        with bench.working():
            model, imgsz = bench.state.built, bench.state.diagram.imgsz
        return [
            replace(one, obstacle=words(one.obstacle))
            for one in place_costs(model, after, imgsz, gate=gate, own=bench.modules)
        ]

    @router.post("/catalogue/cost")
    def one_cost(asked: q.CostQuestion, words: Words) -> PlaceCost:
        with bench.working():
            model, imgsz = bench.state.built, bench.state.diagram.imgsz
        own = bench.modules.get(asked.module)
        found = option_cost(model, asked.after, imgsz, asked.module, _options(asked.options), gate=asked.gate, own=own)
        return replace(found, obstacle=words(found.obstacle))

    return router


def _in_words(entry: Entry, words: Words) -> Entry:
    """Translate an entry; where its summary is not, it says when one would want the module."""
    when, summary = words(entry.when), words(entry.summary)
    is_translated = when != entry.when and summary == entry.summary
    options = tuple(replace(option, help=words(option.help)) for option in entry.options)
    return replace(entry, summary=when if is_translated else summary, when=when, options=options)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Options of a form; texts are read as YAML."""
    return {k: parse_yaml(v, None)[0] if isinstance(v, str) else v for k, v in given.items()}


async def _of_regard_error(request: Request, error: Any) -> JSONResponse:
    words = words_of(request)
    relative = request.app.state.relative
    file = relative(str(error.file)) if error.file else None
    file = None if file == "." else file  # the workspace itself, which the texts name
    fault = a.Fault(
        what=words(error.what),
        file=Path(file).name if file and Path(file).is_absolute() else file,  # one that is not of the workspace
        line=error.line,
        expected=error.expected and words(error.expected),
        hint=error.hint and words(error.hint),
    )
    return JSONResponse(relative(fault.model_dump()), 409 if isinstance(error, StaleError) else 422)


async def _of_validation(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        detail = f"{first['ctx']['error']}, character {first['loc'][-1]}"
        return await _of_regard_error(request, RegardError(f"the request is no JSON: {detail}"))
    where = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse(a.Fault(what=f"{where}: {first['msg']}").model_dump(), 422)


async def _of_http(_request: Request, error: Any) -> JSONResponse:
    return JSONResponse(a.Fault(what=str(error.detail)).model_dump(), error.status_code, headers=error.headers)


async def _of_anything(request: Request, error: Exception) -> JSONResponse:
    word = last_word(error)
    if word is None:
        log.error("a fault of the studio", exc_info=error)
    text = word.text if word else f"a fault of the studio ({type(error).__name__}); the terminal shows more"
    return JSONResponse(a.Fault(what=request.app.state.relative(text)).model_dump(), 500)
