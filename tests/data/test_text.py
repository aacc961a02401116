from __future__ import annotations

from pathlib import Path

import pytest

from regard.data.text import read_text_of_any_system
from regard.errors import RegardError


@pytest.mark.parametrize(
    ("text", "encoding"), [("猫, 狗", "gb18030"), ("人，汽车", "gb18030"), ("公車、貓", "big5"), ("été, Bär", "cp1252")]
)
def test_the_encoding_of_another_system_is_guessed_and_noted(tmp_path: Path, text: str, encoding: str) -> None:
    file = tmp_path / "names.txt"
    file.write_text(text, encoding=encoding)
    read, note = read_text_of_any_system(file)
    assert read == text
    assert encoding in note
    file.write_text(text, encoding="utf-8")
    assert read_text_of_any_system(file) == (text, "")


def test_what_is_no_text_stays_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\n\xff\xfe\x00\x81\n")
    with pytest.raises(RegardError, match="UTF-8") as caught:
        read_text_of_any_system(tmp_path / "a.txt")
    assert caught.value.line == 2
