"""
What a network learned
======================

One image per class, optimized from noise until the network is sure of it. The prior is fitted on
real digits; so the same recipe on random weights stands beside each image, and a second,
independently trained network says how it classifies it.

To run it: ``python examples/plot_what_it_learned.py [FOLDER]``
"""

import sys
from pathlib import Path

import convscope
from convscope import figures, visualizations

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)

classifier = convscope.load("mnist-conv2-fc")
digits = convscope.open_dataset("digits")

# %%
# All ten images are optimized in one batch.

result = visualizations.class_images(
    classifier,
    reference=digits.train.to_float(slice(0, None)),
    evaluator=convscope.load("mnist-conv1"),
)
path = folder / "class-images.png"
figures.draw(result).savefig(path, dpi=110, bbox_inches="tight")
print(f"wrote {path}")
