"""Pictures for the gallery: what the programs of examples/ write to their folder."""

import shutil
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from PIL import Image

FOLDER = Path(gettempdir()) / "convscope-gallery"


def folder_for_pictures(gallery: Any, block: dict[str, Any]) -> list[str]:
    """The argument of an example: an empty folder of its own."""
    folder = FOLDER / Path(block["src_file"]).stem
    shutil.rmtree(folder, ignore_errors=True)
    return [str(folder)]


class WrittenPictures:
    """Show each PNG file that a block of an example has written, in the order of their writing."""

    def __repr__(self) -> str:
        return "WrittenPictures()"

    def __call__(self, block: Any, block_vars: dict[str, Any], gallery: dict[str, Any]) -> str:
        """Move the pictures to where the gallery expects them; reStructuredText that shows them."""
        from sphinx_gallery.scrapers import figure_rst

        folder = FOLDER / Path(block_vars["src_file"]).stem
        shown = []
        for picture in sorted(folder.glob("*.png"), key=lambda path: path.stat().st_mtime_ns):
            target = Path(next(block_vars["image_path_iterator"]))
            _fit(picture, target)
            picture.unlink()
            shown.append(str(target))
        return figure_rst(shown, gallery["src_dir"])


def _fit(picture: Path, target: Path) -> None:
    """Copy a picture onto white, so that it can be read on a dark page too."""
    with Image.open(picture) as image:
        plain = Image.new("RGB", image.size, "white")
        plain.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
        plain.save(target, optimize=True)
