"""Text files of data sets, which some tools save in the encoding of the system instead of UTF-8."""

from __future__ import annotations

import locale
from pathlib import Path

from regard.errors import RegardError
from regard.system.loaders import MOST_TEXT, read_bytes, read_text


def read_text_of_any_system(file: Path, most: int = MOST_TEXT) -> tuple[str, str]:
    """Read a text file in UTF-8, or else in the encoding that it most likely has.

    Tried are this system's encoding if it is not UTF-8, then GB18030 and Big5 if all other than ASCII characters are
    frequent Chinese ones, then Windows-1252 if they are single letters with accents.

    Returns:
        The text, and a note that names a guessed encoding, "" for UTF-8.

    Raises:
        RegardError: the file cannot be read, or none of these fits.
    """
    try:
        return read_text(file, most), ""
    except RegardError as error:
        content = read_bytes(file, most)
        for name, is_likely in (
            (locale.getencoding(), _is_not_utf8),
            ("gb18030", _is_simplified),
            ("big5", _is_traditional),
            ("cp1252", _has_accents),
        ):
            try:
                text = content.decode(name)
            except (UnicodeDecodeError, LookupError):
                continue
            if is_likely(name, text):
                return text, f"not UTF-8, read as {name}: save it as UTF-8 if names are wrong"
        raise error from None


def _is_not_utf8(encoding: str, _text: str) -> bool:
    return encoding.lower().replace("-", "") not in ("utf8", "ascii", "ansi_x3.41968", "iso88591")


def _is_simplified(_encoding: str, text: str) -> bool:
    """Only characters of GB 2312's first level (rows 16 to 55), the 3,755 most frequent, and its punctuation."""
    return _leads_within(text, "gb2312", ((0xB0, 0xD7), (0xA1, 0xA3)))


def _is_traditional(_encoding: str, text: str) -> bool:
    """Only characters of Big5's first level, the 5,401 most frequent, and its punctuation."""
    return _leads_within(text, "big5", ((0xA4, 0xC6), (0xA1, 0xA3)))


def _leads_within(text: str, encoding: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    try:
        leads = [character.encode(encoding)[0] for character in text if not character.isascii()]
    except UnicodeEncodeError:
        return False
    return all(any(low <= lead <= high for low, high in ranges) for lead in leads)


def _has_accents(_encoding: str, text: str) -> bool:
    """No two other than ASCII characters in a row, and all of them letters."""
    pairs = zip(text, text[1:] + " ", strict=True)
    return all(one.isascii() or (one.isalpha() and other.isascii()) for one, other in pairs)
