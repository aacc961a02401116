"""Publishing a trained detector on the Hugging Face Hub, with a card that states its data, metrics and licences."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from regard.errors import RegardError, warn
from regard.graph.detector import PUBLISHED, Detector, Published
from regard.publish.card import model_card
from regard.publish.facts import RESULTS
from regard.publish.licences import check_licences
from regard.system.files import is_folder, is_there
from regard.system.interrupts import interrupts_deferred
from regard.system.loaders import MOST_TEXT, read_bytes
from regard.system.scratch import scratch_folder
from regard.training.run import Run
from regard.weights.detector import Modules, as_detector, save_detector
from regard.weights.hub import DEFAULT_FILE, LIBRARY, PREFIX, has_weights, hub_errors, import_hub, reason_of

REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@interrupts_deferred()
def push_to_hub(
    model: Run | Detector | str | Path,
    repository: str,
    *,
    license: str,
    start: str | None = None,
    start_license: str | None = None,
    permission: bool = False,
    from_scratch: bool = False,
    study: str | Path | None = None,
    modules: Modules | None = None,
    private: bool = True,
    message: str | None = None,
) -> str:
    """Upload a detector and its model card to the Hugging Face Hub, and return the address of the repository.

    The card states data, metrics, licences, start weights and the study's verdicts, but nothing of this machine.

    Args:
        model: a run or its folder (its best weights), or, without metrics, a detector or what ``load`` takes.
        repository: ``owner/name``; it is created if it does not exist.
        license: of the published model, as an identifier of the Hub or of SPDX, such as ``apache-2.0`` or ``agpl-3.0``;
            ``other`` for one that has none.
        start: weights that it started from, such as ``yolov5n.pt of YOLOv5 v7.0``; not stated if None, with a warning.
        start_license: their licence, in any usual spelling; needed with ``start``. Several in one text
            all count, joined by "or" they are a choice, and a text that is not known permits no other licence.
        permission: state that the owner of the start weights permits the licence of the model.
        from_scratch: there were no such weights.
        study: folder of the ablation study behind the model.
        modules: your own layers that the model needs; their code is not uploaded, and the card names their files.
        private: only you can see the repository; one that exists and is public is rejected.
        message: of the commit.

    Returns:
        Address of the repository.

    Raises:
        RegardError: the package ``huggingface_hub`` is not installed, the licences contradict each other, the model or
            the study cannot be read, the file of the model records other start weights, or the Hub rejects the upload.

    Example:
        >>> licences = {"start": "yolov5n.pt", "start_license": "agpl-3.0"}
        >>> regard.push_to_hub("odd-one-out", "me/odd", license="apache-2.0", **licences)
        Traceback (most recent call last):
        regard.errors.RegardError: a model that started from weights under agpl-3.0 cannot be published under apache-2.0
          expected: license: agpl-3.0
          permission=True (--permission) states that the owner of the weights permits it
    """
    if not REPOSITORY.fullmatch(repository):
        raise RegardError(f"{repository!r:.200} is not the name of a repository", expected="owner/name")
    license = check_licences(license, start, start_license, from_scratch=from_scratch, permission=permission)
    folder = _folder_of(model)
    detector = _detector_of(model, folder, modules)
    licences: dict[str, Any] = {"license": license, "start": start, "start_license": start_license}
    licences |= {"permission": permission, "from_scratch": from_scratch}
    card = model_card(detector, repository, folder=folder, study=study, **licences)
    with scratch_folder(Path(tempfile.gettempdir())) as upload:
        published = Published(f"{PREFIX}{repository}", license)
        save_detector(upload / DEFAULT_FILE, detector, extra={PUBLISHED: published._asdict()})
        (upload / "README.md").write_text(card, encoding="utf-8")
        _copy_results(folder, upload)
        return _upload(upload, repository, private=private, message=message)


def _folder_of(model: Run | Detector | str | Path) -> Path | None:
    """The folder of a run, or None for a model that has none."""
    folder = model.folder if isinstance(model, Run) else Path(model) if isinstance(model, str | Path) else None
    return folder if folder is not None and is_folder(folder) else None


def _detector_of(model: Run | Detector | str | Path, folder: Path | None, modules: Modules | None) -> Detector:
    """The detector to upload; that it has random weights is said."""
    if isinstance(model, Run):  # its folder has the same weights, but not the classes of the user's own layers
        modules = {**model.model.user_modules, **(modules or {})}
    source = model if folder is None or isinstance(model, Detector) else folder
    detector = as_detector(source, modules=modules)  # type: ignore[arg-type]
    if isinstance(model, str | Path) and not has_weights(model):
        warn(f"{model} has no trained weights: random ones are uploaded")
    return detector


def _copy_results(run: Path | None, upload: Path) -> None:
    """Copy the results of a run, if there is one, as far as they are there; `read_facts` has checked them.

    Raises:
        RegardError: one cannot be read.
    """
    for name in RESULTS:
        if run is not None and is_there(run / name):
            (upload / name).write_bytes(read_bytes(run / name, MOST_TEXT))


def _upload(folder: Path, repository: str, *, private: bool, message: str | None) -> str:
    """Upload a folder, and return the address of the repository."""
    hub = import_hub()
    try:
        api = hub.HfApi(**LIBRARY)
        address = api.create_repo(repository, private=private, exist_ok=True)
        if private and not api.model_info(repository).private:  # one that existed stays as it was
            expected = "private=False (--no-private) if everyone may see the model, or another name"
            raise RegardError("this repository exists and is public", file=repository, expected=expected)
        said = message or "Upload a detector"
        # Results of a model that was there before would be taken for those of this one.
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=said, delete_patterns=list(RESULTS))
    except hub_errors() as error:  # as an interrupted upload of a large file
        what = f"cannot be uploaded: {reason_of(error)}"
        hint = "check the connection, and log in with `hf auth login`, or set HF_TOKEN"
        raise RegardError(what, file=repository, hint=hint) from error
    return str(address)
