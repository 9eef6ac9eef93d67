"""
Your own network, audited
=========================

Any PyTorch module becomes one HTML page. convscope needs to know the size of its images and how
their pixels are normalized; it leaves the module exactly as it found it.

To run it: ``python examples/plot_your_own_network.py [FOLDER]``
"""

import sys
from pathlib import Path

import torch
from torch import nn

import convscope
from convscope import figures
from convscope.reports import render
from convscope.studies import audit

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)

# %%
# The network below stands for yours, and the plain loop for your training.


def train_it_your_way(images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """Four epochs of a plain loop."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(4):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[rows] - 0.2), labels[rows]).backward()
            optimizer.step()
    return network.eval()


digits = convscope.open_dataset("digits")
network = train_it_your_way(digits.train.to_float(slice(0, None)), digits.train.labels)

# %%
# Wrap it: now every method of the package takes it.

classifier = convscope.Classifier.wrap(
    network,
    input_shape=(1, 28, 28),
    class_names=digits.class_names,
    mean=[0.2],
    std=[1.0],
)
path = folder / "confusion.png"
figures.draw(convscope.evaluate(classifier, digits.test)).savefig(path, dpi=110)
print(f"wrote {path}")

# %%
# The audit writes a folder with every number and picture; one self-contained page is made of it.

result = audit(
    classifier,
    digits,
    out_folder=folder / "audit",
    sections=("performance", "architecture", "looking", "robustness"),
    images_per_section=4,
)
render(result.folder, folder / "audit.html")
print(f"wrote {folder / 'audit.html'}")
