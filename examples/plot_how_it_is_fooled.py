"""
How a network is fooled
=======================

The smallest changes that make it misclassify three images, and how its accuracy falls with the
size of the change that is allowed.

To run it: ``python examples/plot_how_it_is_fooled.py [FOLDER]``
"""

import sys
from pathlib import Path

import convscope
from convscope import attacks, figures, robustness

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)

classifier = convscope.load("mnist-conv2-fc")
digits = convscope.open_dataset("digits")
images, labels = digits.test.to_float(range(100)), digits.test.labels[:100]


def save(result: object, name: str) -> None:
    """Draw a result into the folder."""
    path = folder / f"fooled-{name}.png"
    figures.draw(result).savefig(path, dpi=110, bbox_inches="tight")
    print(f"wrote {path}")


# %%
# DDN looks for the nearest misclassified image in L2.

save(attacks.ddn(classifier, images[2:5], labels[2:5]), "smallest-changes")

# %%
# Accuracy over epsilon, by bisection per image: about four attacks for fifteen radii.

save(robustness.curve(classifier, images, labels, epsilons=[k / 50 for k in range(1, 16)]),
     "accuracy-curve")  # fmt: skip
