"""Where a network looks: three explanations of one handwritten digit.

    python examples/plot_where_it_looks.py [FOLDER]

Everything here comes with the package: the digits are scikit-learn's, the network is one that we
trained on MNIST.
"""

import sys
from pathlib import Path

import torch

import convscope
from convscope import explanations, figures


def main(folder: Path) -> None:
    """Draw occlusion, Grad-CAM and saliency of one image."""
    classifier = convscope.load("mnist-conv2-fc")
    digits = convscope.open_dataset("digits")
    images = digits.test.to_float([7])

    # Hide part after part: a region matters where hiding it costs the class its score.
    hidden = explanations.occlusion(classifier, images, torch.tensor([[8, 2, 3]]), preset="12/4")
    # What the maps of the last convolution contribute, and the gradient of the class by pixel.
    coarse = explanations.grad_cam(classifier, images)
    fine = explanations.saliency(classifier, images)

    for name, result in (("occlusion", hidden), ("grad-cam", coarse), ("saliency", fine)):
        path = folder / f"where-{name}.png"
        figures.draw(result).savefig(path, dpi=110, bbox_inches="tight")
        print(f"wrote {path}")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    target.mkdir(parents=True, exist_ok=True)
    main(target)
