"""Fonts for figures whose letters are drawn into the file."""

from __future__ import annotations

from matplotlib.font_manager import fontManager

OWN_FONT = "DejaVu Sans"
CJK_FONTS = (
    *("Noto Sans CJK TC", "Noto Sans TC", "Source Han Sans TC", "Microsoft JhengHei", "PingFang TC", "Heiti TC"),
    *("Noto Sans CJK JP", "Noto Serif CJK TC", "Noto Serif CJK JP", "WenQuanYi Zen Hei", "Arial Unicode MS"),
)
"""Fonts with Chinese letters of Linux, Windows and macOS, the best first."""
FIRST_CJK = 0x2E80
"""First code point of Chinese, Japanese and Korean letters."""


def families_for(text: str) -> list[str]:
    """Fonts for a text: matplotlib's own, and for Chinese, Japanese or Korean letters an installed one."""
    if all(ord(letter) < FIRST_CJK for letter in text):
        return [OWN_FONT]
    installed = {font.name for font in fontManager.ttflist}
    return [OWN_FONT, *[name for name in CJK_FONTS if name in installed][:1]]
