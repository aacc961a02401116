from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from regard.data.paths import files_below, resolve


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("train/images", "Images/val", "images/a", unicodedata.normalize("NFD", "été")):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "train/images/a b.jpg").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("stated", "found", "is_noted"),
    [
        ("train/images", "train/images", False),
        ("./train\\images\\a b.jpg", "train/images/a b.jpg", False),
        ("../../train/images", "train/images", False),
        ("images/val", "Images/val", True),
        ("Images/A", "images/a", True),
        ("Train/images/A B.JPG", "train/images/a b.jpg", True),
        (unicodedata.normalize("NFC", "été"), unicodedata.normalize("NFD", "été"), True),
        ("/content/pets-1/train/images", "train/images", True),
        (r"D:\pets\train\images\a b.jpg", "train/images/a b.jpg", True),
        (r"\\server\share\train\images", "train/images", True),
        ("train/image", None, False),
        ("x\0y", None, False),
        ("a" * 5000, None, False),
        ("..", "..", False),
        ("", ".", False),
    ],
)
def test_a_stated_path_is_found(base: Path, stated: str, found: str | None, is_noted: bool) -> None:
    located = resolve(stated, [base / "nowhere", base])
    assert (located and located.path) == (base / found if found else None)
    assert bool(located and located.note) == is_noted


def test_a_short_end_of_a_path_is_no_evidence(base: Path) -> None:
    assert resolve("/content/images", [base], shortest=2) is None
    assert resolve("/content/train/images", [base], shortest=2) is not None
    assert resolve("images", [base], shortest=2) is not None


@pytest.mark.parametrize("stated", ["../images/a", "..\\images\\a", ".\\..\\train\\..\\images\\a"])
def test_a_path_that_leads_out_of_the_base_is_one_in_every_spelling(base: Path, stated: str) -> None:
    (base / "train/images/a").mkdir()
    located = resolve(stated, [base / "train"])
    assert located is not None
    assert located.path.resolve() == (base / "images/a").resolve()
    assert not located.note


def test_a_path_as_stated_wins_over_an_earlier_base(base: Path) -> None:
    located = resolve("images", [base / "train", base])
    assert located is not None
    assert located.path == base / "train/images"
    located = resolve("images/a", [base / "train", base])
    assert located is not None
    assert located.path == base / "images/a"


def test_files_are_listed_once_through_links_and_without_hidden_ones(base: Path) -> None:
    other = base.with_name(base.name + "-other")
    (other / "deep").mkdir(parents=True)
    for name in ("train/images/.hidden", ".ipynb_checkpoints/a.jpg", "deep/b.jpg"):
        file = (other if name.startswith("deep") else base) / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    (base / "train/link").symlink_to(other)
    (other / "deep/loop").symlink_to(base)
    assert [file.relative_to(base).as_posix() for file in files_below(base)] == [
        "train/images/a b.jpg",
        "train/link/deep/b.jpg",
    ]
