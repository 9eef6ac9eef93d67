"""How a network is fooled: images that it misreads, and how accuracy falls with epsilon.

python examples/plot_how_it_is_fooled.py [FOLDER]
"""

import sys
from pathlib import Path

import convscope
from convscope import attacks, figures, robustness


def main(folder: Path) -> None:
    """Draw adversarials of one attack and an accuracy curve."""
    classifier = convscope.load("mnist-conv2-fc")
    digits = convscope.open_dataset("digits")
    images, labels = digits.test.to_float(range(100)), digits.test.labels[:100]

    smallest = attacks.ddn(classifier, images[2:5], labels[2:5])
    falling = robustness.curve(classifier, images, labels, epsilons=[k / 50 for k in range(1, 16)])

    for name, result in (("smallest-changes", smallest), ("accuracy-curve", falling)):
        path = folder / f"fooled-{name}.png"
        figures.draw(result).savefig(path, dpi=110, bbox_inches="tight")
        print(f"wrote {path}")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    target.mkdir(parents=True, exist_ok=True)
    main(target)
