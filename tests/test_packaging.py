"""What is distributed: one version everywhere, the same requirements in each form, and a complete wheel."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import regard
from regard.cli import versions

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = {"torch": "pytorch", "opencv-python-headless": "py-opencv", "matplotlib": "matplotlib-base"}
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def load(name: str) -> dict:  # type: ignore[type-arg]
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_every_file_states_the_same_version() -> None:
    recipe, citation = load("recipe/recipe.yaml"), load("CITATION.cff")
    assert {PROJECT["version"], recipe["context"]["version"], citation["version"]} == {regard.__version__}
    assert citation["license"] == recipe["about"]["license"] == PROJECT["license"]


def test_the_recipe_has_the_requirements_of_the_package() -> None:
    parts = [re.fullmatch(r"([\w.-]+)(>=[\d.]+)", line) for line in PROJECT["dependencies"]]
    wanted = {f"{CONDA.get(found[1], found[1])} {found[2]}" for found in parts if found}
    recipe = set(load("recipe/recipe.yaml")["requirements"]["run"])
    assert recipe - {"python >=${{ python_min }}"} == wanted
    assert PROJECT["requires-python"] == f">={load('recipe/recipe.yaml')['context']['python_min']}"


EVERYTHING = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = EVERYTHING["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]


def later_facts(repository: str, changelog: str) -> tuple[dict[str, str], dict[str, str]]:
    """What the recipe's `about` and the citation have to state about the address and the date, if these are known."""
    released = re.search(rf"^## {re.escape(regard.__version__)} \((\d{{4}}-\d\d-\d\d)\)$", changelog, re.MULTILINE)
    about = {"homepage": repository, "repository": repository} if repository else {}
    citation = {"url": repository, "repository-code": repository} if repository else {}
    return about, citation | ({"date-released": released[1]} if released else {})


def test_address_and_date_are_stated_everywhere_as_soon_as_they_are_known() -> None:
    about, cited = later_facts(REPOSITORY, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    recipe, citation = load("recipe/recipe.yaml"), load("CITATION.cff")
    assert {key: recipe["about"][key] for key in ("homepage", "repository") if key in recipe["about"]} == about
    stated = {key: str(citation[key]) for key in ("url", "repository-code", "date-released") if key in citation}
    assert stated == cited
    maintainers = recipe["extra"]["recipe-maintainers"]
    assert all(re.fullmatch(r"[A-Za-z\d]+(-[A-Za-z\d]+)*", name) for name in maintainers)
    assert "regard-maintainers" not in maintainers  # no user of this name
    assert bool(maintainers) is bool(REPOSITORY)


def test_address_and_date_are_known_from_one_place_each() -> None:
    heading = f"# Changelog\n\n## {regard.__version__} "
    assert later_facts("", heading + "(unreleased)\n") == ({}, {})
    about, cited = later_facts("https://host.org/me/regard", heading + "(2030-01-31)\n")
    assert set(about) == {"homepage", "repository"}
    assert set(cited) == {"url", "repository-code", "date-released"}


@pytest.mark.parametrize("readme", ["README.md", "README.zh-TW.md"])
def test_the_readme_says_how_to_install_and_lists_every_extra_of_a_user(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    install = text[text.index("## Install" if readme == "README.md" else "## 安裝") :]
    install = install[: install.index("\n## ")]
    assert "```sh\npip install regard " in install
    rows = re.findall(r"^\| ((?:`\w+`(?:, |、)?)+) \| \d", install, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(set(PROJECT["optional-dependencies"]) - {"dev", "docs", "all-tests"})


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda file: file.name
)
def test_issue_forms_have_what_github_requires(file: Path) -> None:
    form = yaml.safe_load(file.read_text(encoding="utf-8"))
    if file.name == "config.yml":
        return
    assert form["name"]
    assert form["description"]
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 0
    assert all(part["attributes"].get("label") or part["type"] == "markdown" for part in form["body"])


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_dockerfiles_copy_what_is_there_and_run_as_a_user(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert steps[0][0] == "FROM"
    assert ["USER", "1000"] in steps
    copied = [source for step, rest in steps if step == "COPY" for source in rest.split()[:-1]]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in copied:
        assert (ROOT / source).exists()
        assert source.removeprefix("./") in allowed
    (extras,) = re.findall(r'pip install "\.\[([\w,]+)\]"', text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_no_two_files_of_the_package_are_equal() -> None:
    """Tools that check a wheel take it for a mistake."""
    files = [path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    sums = Counter(hashlib.sha256(path.read_bytes()).digest() for path in files if path.stat().st_size)
    assert max(sums.values()) == 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What makes the page of the index; the build tool itself is not needed."""
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin", "hatchling.metadata.plugin.interface"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[name], "MetadataHookInterface", object, raising=False)
    spec = spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TARGET = re.compile(r"\]\(([^)]*)\)")


def test_the_page_of_the_index_has_no_broken_link_without_a_repository(made: ModuleType) -> None:
    text = made.index_page((ROOT / "README.md").read_text(encoding="utf-8"), "", "v1")
    assert all(target.startswith("https://") for target in TARGET.findall(text))
    assert "![" not in text
    for kept in ("## Install", "```sh\nregard insert", "| `regard lint FILES...` |", "can't tell for"):
        assert kept in text
    for evidence in ("205 images", "45 runs of 15 epochs", "five paired seeds", "0.576 AP"):
        assert evidence in text[: text.index("## Install")]  # a verdict comes with them
    assert "docs/" not in text
    assert "| Tutorial |" not in text
    assert "**Gate.**" in text
    assert "(how)" not in text
    assert made.addresses("", "v1") == {}
    assert made.index_page("a [b](c.md) (d)\n\n![e](f.png)\n\n*g*\n\n*h*\n\n[i](j.md)\n", "", "") == "a b (d)\n\n*h*\n"
    sections = "a\n\n## B\n\nc\n\n| [d](e.md) | f |\n\n## G\n\n| [h](https://host.org) | i |\n"
    assert made.index_page(sections, "", "") == "a\n\n## G\n\n| [h](https://host.org) | i |\n"


def test_the_page_of_the_index_leads_to_the_files_of_the_version(made: ModuleType) -> None:
    text = made.index_page((ROOT / "README.md").read_text(encoding="utf-8"), "https://host.org/me/regard", "v1")
    own = [target for target in TARGET.findall(text) if "host.org" in target]
    assert len(own) > 30
    for target in own:
        kind, tag, path = target.removeprefix("https://host.org/me/regard/").split("/", 2)
        assert (kind, tag) in (("blob", "v1"), ("raw", "v1"))
        assert (kind == "raw") is path.endswith((".png", ".jpg", ".svg"))
        assert (ROOT / path.partition("#")[0]).is_file()
    assert all(target.startswith("https://") for target in TARGET.findall(text))
    assert set(made.addresses("https://host.org/me/regard", "v1")) == {"Source", "Documentation", "Changelog", "Issues"}


@pytest.mark.slow
@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_accepts(file: Path) -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("needs hadolint")
    # Versions follow pyproject.toml, so none are pinned in the image.
    done = subprocess.run([hadolint, "--ignore", "DL3013", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_report_for_bugs_has_versions_and_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", "/home/anna/secret")
    text = versions.version_report()
    assert text.startswith(f"regard {regard.__version__}\n")
    for word in ("torch ", "numpy ", "extra ray: ray", "CUDA", "REGARD_CACHE", "cores"):
        assert word in text
    import getpass
    import platform

    secrets = {"secret", str(Path.home()), platform.node(), str(ROOT), sys.prefix}
    secrets |= {getpass.getuser()} - {"root"}
    assert not [secret for secret in secrets if secret in text]


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2.4", "none-such[x]>=1; extra == 'odd'", "regard[x]; extra == 'odd'"]
    monkeypatch.setattr(versions, "requires", lambda _: lines)
    assert "extra odd: none-such missing" in versions.version_report()


def test_every_copy_has_the_licences_of_the_packages_in_the_page() -> None:
    notices = "LICENSES-third-party.txt"
    assert notices in PROJECT["license-files"]
    assert notices in load("recipe/recipe.yaml")["about"]["license_file"]
    text = (ROOT / notices).read_text(encoding="utf-8")
    page = json.loads((ROOT / "studio" / "package.json").read_text(encoding="utf-8"))
    packages = set(re.findall(r"^Name: (.+)$", text, re.MULTILINE))
    assert {*page["dependencies"], "d3-zoom", "zustand"} <= packages
    assert text.count("License Text:") == len(packages)


def test_one_sentence_says_what_it_is() -> None:
    recipe = load("recipe/recipe.yaml")["about"]["summary"]
    assert PROJECT["description"] == recipe == (regard.__doc__ or "").splitlines()[0]
    assert recipe.lower().rstrip(".") in load("CITATION.cff")["title"].lower()


@pytest.mark.slow
def test_the_wheel_has_data_and_types(tmp_path: Path) -> None:
    pytest.importorskip("build")
    command = [sys.executable, "-m", "build", "--wheel", "--sdist", "--outdir", str(tmp_path), str(ROOT)]
    if subprocess.run([sys.executable, "-c", "import hatchling"], check=False).returncode == 0:
        command.insert(3, "--no-isolation")
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {file for file in (ROOT / "src").rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert {file.relative_to(ROOT / "src").as_posix() for file in files} <= names
    assert "regard/py.typed" in names
    assert any(name.startswith("regard/models/") and name.endswith(".yaml") for name in names)
    missing: list[str] = []
    for check in (["twine", "check", "--strict", *map(str, tmp_path.iterdir())], ["check-wheel-contents", str(wheel)]):
        tool = shutil.which(check[0]) or shutil.which(check[0], path=str(Path(sys.executable).parent))
        if tool is None:
            missing.append(check[0])
            continue
        done = subprocess.run([tool, *check[1:]], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    if missing:
        pytest.skip(f"the wheel is complete; the rest needs {', '.join(missing)}")
