"""An attack that is registered at run time, and the audit that meets it."""

import torch
from torch import nn

from convscope.attacks import ATTACKS, pgd
from convscope.classifier import Classifier
from convscope.reports import Report


def with_my_attack():
    """An attack of somebody else: a plain function, registered at run time."""

    def my_attack(
        classifier, images, labels, *, epsilon: float = 0.1, norm: str = "linf", strength: int = 3
    ):
        """Do what nobody has done.

        Args:
            classifier: The network.
            images: Images.
            labels: Labels.
            epsilon: Radius.
            norm: Of the radius.
            strength: How hard it tries.
        """
        return pgd(classifier, images, labels, epsilon=epsilon, norm=norm, steps=strength)

    ATTACKS["my-attack"] = my_attack
    yield my_attack
    del ATTACKS["my-attack"]


class Few:
    """What the section on attacks asks of an audit, for a network that is not trained."""

    def __init__(self, effort):
        layer = nn.Linear(16, 3)
        layer.weight.data = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
        self.classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), layer), input_shape=(1, 4, 4))
        self.images = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
        self.labels = self.classifier.predict(self.images, top=1).labels[:, 0]
        self.effort, self.epsilon, self.scale = effort, 0.1, 3.0
        self.report = Report(title="a test")
        self.attacked_rows = torch.arange(4)
        self.test = self
        self.shown = (self.images, self.labels)

    def applicable(self, section, registry, names):
        return list(names)

    def sized(self, usual, if_large):
        return usual

    def to_float(self, rows):
        return self.images[rows]
