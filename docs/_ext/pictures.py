"""Pictures for the gallery: what the programs of examples/ write to their folder."""

import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from sphinx.application import Sphinx

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDER = "out"
"""Where an example writes, beside it; git ignores it."""


def empty_folder(gallery: Any, block: dict[str, Any]) -> list[str]:
    """The argument of an example: a folder that is not there yet."""
    shutil.rmtree(EXAMPLES / FOLDER, ignore_errors=True)
    return [FOLDER]


class WrittenPictures:
    """Show each PNG file that a block of an example has written, in the order of their writing."""

    def __repr__(self) -> str:
        return "WrittenPictures()"

    def __call__(self, block: Any, block_vars: dict[str, Any], gallery: dict[str, Any]) -> str:
        """Move the pictures to where the gallery expects them; reStructuredText that shows them."""
        from sphinx_gallery.scrapers import figure_rst

        written = (EXAMPLES / FOLDER).glob("*.png")
        shown = []
        for picture in sorted(written, key=lambda path: path.stat().st_mtime_ns):
            target = Path(next(block_vars["image_path_iterator"]))
            _on_white(picture, target)
            picture.unlink()
            shown.append(str(target))
        return figure_rst(shown, gallery["src_dir"])


def _on_white(picture: Path, target: Path) -> None:
    """Copy a picture onto white, so that it can be seen on a dark page too."""
    with Image.open(picture) as image:
        plain = Image.new("RGB", image.size, "white")
        plain.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
        plain.save(target, optimize=True)


def _clear(app: Sphinx, error: Exception | None) -> None:
    shutil.rmtree(EXAMPLES / FOLDER, ignore_errors=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Join the build."""
    app.connect("build-finished", _clear)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
