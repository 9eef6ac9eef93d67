"""What a network learned: one image per class, grown from noise.

    python examples/plot_what_it_learned.py [FOLDER]

The prior is fitted on real digits; so the same recipe on random weights stands beside each image,
and a second, independently trained network says what it reads.
"""

import sys
from pathlib import Path

import convscope
from convscope import figures, visualizations


def main(folder: Path) -> None:
    """Draw the ten class images with their controls."""
    classifier = convscope.load("mnist-conv2-fc")
    digits = convscope.open_dataset("digits")
    result = visualizations.class_images(
        classifier,
        reference=digits.train.floats(slice(0, None)),
        evaluator=convscope.load("mnist-conv1"),
    )
    path = folder / "class-images.png"
    figures.draw(result).savefig(path, dpi=110, bbox_inches="tight")
    print(f"wrote {path}")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    target.mkdir(parents=True, exist_ok=True)
    main(target)
