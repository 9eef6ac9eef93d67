"""
Where a network looks
=====================

Three explanations of one handwritten digit. Everything here comes with the package: the digits are
scikit-learn's, the network was trained on MNIST.

To run it: ``python examples/plot_where_it_looks.py [FOLDER]``
"""

import sys
from pathlib import Path

import torch

import convscope
from convscope import explanations, figures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)

classifier = convscope.load("mnist-conv2-fc")
images = convscope.open_dataset("digits").test.to_float([7])


def save(result: object, name: str) -> None:
    """Draw a result into the folder."""
    path = folder / f"where-{name}.png"
    figures.draw(result).savefig(path, dpi=110, bbox_inches="tight")
    print(f"wrote {path}")


# %%
# Hide part after part: a region matters where hiding it lowers the score of the class. One pass
# over the windows serves every class, here 8, 2 and 3.

save(explanations.occlusion(classifier, images, torch.tensor([[8, 2, 3]]), preset="12/4"),
     "occlusion")  # fmt: skip

# %%
# The maps of the last convolution, each weighted by its mean gradient: coarse.

save(explanations.grad_cam(classifier, images), "grad-cam")

# %%
# The gradient of the logit by every pixel: fine, and noisy.

save(explanations.saliency(classifier, images), "saliency")
