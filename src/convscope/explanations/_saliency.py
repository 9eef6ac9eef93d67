"""Which pixels does a logit react to? Gradients of logits by pixels."""

from __future__ import annotations

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.explanations._result import Explanation
from convscope.explanations._targets import Targets, known_targets, targets_of
from convscope.types import Images


@checked
def saliency(classifier: Classifier, images: Images, targets: Targets = None) -> Explanation:
    """Largest absolute gradient of a logit over the color channels.

    Cheap and noisy: on natural images little better than chance at pointing to the object.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``, which costs
            one forward pass and one backward pass per class.

    Returns:
        Maps ``(batch, target, height, width)``, at least 0, in logits per unit of pixel.

    Raises:
        UsageError: If `targets` are not classes.
        ModelContractError: M10 if the network is not differentiable.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -2.0, 0.0, 0.0], [0, 0, 3, 0]]))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> saliency(classifier, torch.rand(1, 1, 2, 2), 0).maps
        tensor([[[[1., 2.],
                  [0., 0.]]]])

    Source:
        Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2013, section 3.1.
        We differentiate by pixels in [0, 1], before normalization.
    """
    known = known_targets(classifier, images, targets)
    with classifier.probe() as probe:
        maps, logits = probe.gradients_of_classes(
            images, known, reduce=lambda x, gradient: gradient.abs().amax(dim=1)
        )
    return Explanation(
        images=images,
        maps=maps,
        targets=targets_of(known, logits),
        method="saliency",
        class_names=classifier.class_names,
        logits=logits,
        cost=probe.cost(),
    )


@checked
def input_times_gradient(
    classifier: Classifier, images: Images, targets: Targets = None
) -> Explanation:
    """Pixels times the gradient of a logit, added up over the color channels.

    For a linear network without bias the map adds up to the logit.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: As for `saliency`.

    Returns:
        Signed maps ``(batch, target, height, width)``, in logits.

    Raises:
        UsageError: If `targets` are not classes.
        ModelContractError: M10 if the network is not differentiable.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(3, 1, 2, 2)
        >>> maps = input_times_gradient(classifier, images, "all").maps
        >>> torch.allclose(maps.sum(dim=(2, 3)), net(images), atol=1e-6)
        True

    Source:
        Shrikumar et al., "Not Just a Black Box", 2016 (gradient * input).
    """
    known = known_targets(classifier, images, targets)
    with classifier.probe() as probe:
        maps, logits = probe.gradients_of_classes(
            images, known, reduce=lambda x, gradient: (gradient * x).sum(dim=1)
        )
    return Explanation(
        images=images,
        maps=maps,
        targets=targets_of(known, logits),
        method="input-times-gradient",
        class_names=classifier.class_names,
        logits=logits,
        cost=probe.cost(),
    )
