"""Models of the Hugging Face Hub that the user names: ``hf://owner/name`` or ``hf://owner/name@revision/file``.

This is the only part of the package that downloads a model, and only for an address that the user gives: an address
in a file, such as a plan or an overlay, is rejected. What is downloaded is read as any other file: as data.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from regard import __version__
from regard.errors import RegardError, one_of
from regard.weights.paths import weights_of

PREFIX = "hf://"
DEFAULT_FILE = "model.safetensors"
"""File that `regard.push_to_hub` writes, and that an address without a file refers to."""
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".onnx", ".torchscript")
ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@(\w[\w.-]*))?(?:/([^@]+))?", re.ASCII)
UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:]|(^|/)\.{0,2}(/|$)")
"""What the path of no file of a repository contains: control characters, Windows' separators, and no name."""

LIBRARY = {"library_name": "regard", "library_version": __version__}
"""How this package names itself to the Hub."""
HIDDEN = (401, 403)
"""Answers of the Hub about a repository that is private or gated; for one that is not visible there is also 404."""
BUSY = 429
"""This answer and those from 500 on are about the server, not about what was asked for."""
LOGIN = "if the repository is private or gated, log in with `hf auth login`, or set HF_TOKEN"

UNEXPECTED = (LookupError, TypeError, AttributeError)
"""Raised where an answer lacks what those of the Hub have, as of another server at ``HF_ENDPOINT``."""


def is_hub(source: object) -> bool:
    """Whether the user names a file of the Hub."""
    return isinstance(source, str) and source.startswith(PREFIX)


def has_weights(source: str | Path) -> bool:
    """Whether what a user gives as a model has weights, and is no graph alone.

    Example:
        >>> has_weights("hf://owner/name"), has_weights("yolov5n")
        (True, False)
    """
    return is_hub(source) or weights_of(source) is not None


def local_file(source: Any) -> Any:
    """Download the file that an address of the Hub names, unless it is in the cache of ``huggingface_hub``.

    Args:
        source: what a user gives as a model.

    Returns:
        The path of the file; anything but an address of the Hub is returned as it is.

    Raises:
        RegardError: the address is malformed, the package is not installed, or there is no such file.

    Example:
        >>> local_file("yolov5n.pt")
        'yolov5n.pt'
    """
    if not is_hub(source):
        return source
    repository, revision, name = parse_address(source)
    hub = import_hub()
    try:
        return Path(hub.hf_hub_download(repository, name, revision=revision, **LIBRARY))
    except hub_errors() as error:
        is_hidden = status_of(error) in HIDDEN or type(error).__name__ == "RepositoryNotFoundError"
        hint = LOGIN if is_hidden else None
        raise RegardError(f"cannot be loaded from the Hub: {reason_of(error)}", file=source, hint=hint) from error


def parse_address(source: str) -> tuple[str, str | None, str]:
    """Split an address into repository, revision and file.

    Raises:
        RegardError: it has another form, or names a file that is no model.

    Example:
        >>> parse_address("hf://me/cells@v2/se.safetensors")
        ('me/cells', 'v2', 'se.safetensors')
        >>> parse_address("hf://me/cells")
        ('me/cells', None, 'model.safetensors')
    """
    found = ADDRESS.fullmatch(source)
    expected = "hf://owner/name, hf://owner/name/file or hf://owner/name@revision/file"
    if not found:
        raise RegardError("not an address of the Hub", file=source, expected=expected)
    repository, revision, name = found.groups()
    name = name or DEFAULT_FILE
    if UNSAFE.search(name):
        raise RegardError(f"{name!r:.200} is not the path of a file in a repository", file=source, expected=expected)
    if not name.endswith(SUFFIXES):
        raise RegardError(f"the file {name!r} is not a model", file=source, expected=one_of(SUFFIXES))
    return repository, revision, name


def import_hub() -> Any:
    """Import ``huggingface_hub``.

    Raises:
        RegardError: it is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise RegardError("models of the Hub need the package huggingface_hub", hint='pip install "regard[hub]"')
    import huggingface_hub

    return huggingface_hub


def hub_errors() -> tuple[type[Exception], ...]:
    """What ``huggingface_hub`` raises where a request fails, or is answered by what is no Hub."""
    clients = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]  # it imported one of them
    failed = (OSError, RuntimeError, ValueError, *(client.HTTPError for client in clients))  # ValueError: of a name
    return (*failed, *UNEXPECTED)


def reject_hub(source: object) -> None:
    """Reject an address of the Hub where nothing is downloaded.

    Raises:
        RegardError: it is one.
    """
    if is_hub(source):
        hint = 'save it to a file first: regard.save(regard.load("hf://..."), "model.safetensors")'
        raise RegardError("nothing is downloaded here", file=str(source), hint=hint)


def status_of(error: BaseException) -> int | None:
    """Status of the answer that an error or one of its causes is about; None without an answer."""
    cause: BaseException | None = error
    for _ in range(10):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(status, int) or cause is None:
            return status
        cause = cause.__cause__ or cause.__context__
    return None


def reason_of(error: BaseException) -> str:
    """The first line of an error's message that says more than the status of the answer."""
    status = status_of(error)
    if status is not None and (status == BUSY or status >= 500):
        return f"the server answered with status {status}; try again later"
    if isinstance(error, UNEXPECTED):
        return f"the answer is not one of the Hub ({type(error).__name__}: {error})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = (line for line in lines if not re.match(r"\d{3} (Client|Server) Error", line))
    return next(told, lines[0] if lines else type(error).__name__)
