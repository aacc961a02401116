"""Write public/patterns, the images of the catalogue in the size of the page: `python studio/make_patterns.py`.

Each names its module, so that no two files are equal where two modules have the same pattern.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
IMAGES, PATTERNS = HERE.parent / "docs" / "images" / "catalogue", HERE / "public" / "patterns"
SIDE, QUALITY = 120, 80
DESCRIPTION = 0x010E
"""Tag of an image's description in EXIF."""


def main() -> None:
    """Reduce every image of the catalogue."""
    PATTERNS.mkdir(parents=True, exist_ok=True)
    for file in sorted((*IMAGES.glob("*.png"), IMAGES / "scene.jpg")):
        image = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        about = Image.Exif()
        about[DESCRIPTION] = file.stem
        image.save(PATTERNS / f"{file.stem}.webp", quality=QUALITY, exif=about)


if __name__ == "__main__":
    main()
