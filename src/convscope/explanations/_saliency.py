"""Gradient maps: saliency, input times gradient, SmoothGrad."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations._result import Explanation, Targets, known_targets, targets_of
from convscope.explanations._streamed import index_chunks, streamed
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

    def largest(x: Tensor, gradient: Tensor) -> Tensor:
        return gradient.abs().amax(dim=1)

    return _gradient_maps(classifier, images, targets, largest, method="saliency", signed=False)


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

    def product(x: Tensor, gradient: Tensor) -> Tensor:
        return (gradient * x).sum(dim=1)

    return _gradient_maps(
        classifier, images, targets, product, method="input-times-gradient", signed=True
    )


def _gradient_maps(
    classifier: Classifier,
    images: Images,
    targets: Targets,
    reduce: Callable[[Tensor, Tensor], Tensor],
    *,
    method: str,
    signed: bool,
) -> Explanation:
    """What ``reduce(x, gradient)`` makes of the gradients of the targets' logits."""
    known = known_targets(classifier, images, targets)
    with classifier.probe() as probe:
        maps, logits = probe.class_gradients(images, known, reduce=reduce)
    return Explanation(
        images=images,
        maps=maps,
        targets=targets_of(known, logits),
        method=method,
        signed=signed,
        class_names=classifier.class_names,
        logits=logits,
        cost=probe.cost(),
    )


@checked
def smooth_grad(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    num_samples: int = 16,
    std: float = 0.1,
    squared: bool = True,
    generator: Generator | None = None,
) -> Explanation:
    """Gradients averaged over noisy copies of the image: saliency without its speckle.

    All images share the noise, so an image's map does not depend on the rest of the batch.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        num_samples: Noisy copies per image.
        std: Standard deviation of the noise, as a share of the range of pixels.
        squared: Average squares of gradients, which tells objects from backgrounds better than
            averaging gradients (insertion minus deletion 0.33 against 0.26 on CIFAR-10).
        generator: Source of the noise; by default one with seed 0.

    Returns:
        Maps ``(batch, target, height, width)``, at least 0: the largest over color channels of
        the mean square, or of the absolute mean.

    Raises:
        UsageError: If `num_samples` or `std` makes no sense.
        ModelContractError: M10 if the network is not differentiable.

    Example:
        >>> from convscope.explanations import saliency
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(3, 1, 2, 2)
        >>> smooth = smooth_grad(classifier, images, "all", squared=False).maps
        >>> torch.allclose(smooth, saliency(classifier, images, "all").maps)
        True

    Source:
        Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017; squares: Hooker et
        al., "A Benchmark for Interpretability Methods in Deep Neural Networks", 2019.
    """
    if num_samples < 1 or not std >= 0:
        raise UsageError(
            f"num_samples={num_samples}, std={std}",
            code="U05",
            expected="at least one sample and a standard deviation of at least 0",
        )
    known = known_targets(classifier, images, targets)
    noise = std * torch.randn(
        num_samples, *images.shape[1:], generator=source(generator), dtype=torch.float32
    ).to(images)
    settings: dict[str, float | int | str | bool] = {
        "num_samples": num_samples, "std": std, "squared": squared,
    }  # fmt: skip

    def explain(some: Images, targets: Tensor | None, rows: slice) -> Explanation:
        return _explain(classifier, some, targets, noise, squared, settings)

    return streamed(images, known, explain)


def _explain(
    classifier: Classifier,
    images: Images,
    known: Tensor | None,
    noise: Tensor,
    squared: bool,
    settings: dict[str, float | int | str | bool],
) -> Explanation:
    """One block of images."""
    samples = len(noise)
    with classifier.probe() as probe:
        logits = probe.logits(images)
        classes = targets_of(known, logits)
        total = images.new_zeros(*classes.shape, *images.shape[1:])
        for numbers in index_chunks(probe, len(images) * samples):
            rows = (numbers // samples).to(images.device)
            noisy = images[rows] + noise[numbers % samples]
            gradients, _ = probe.class_gradients(noisy, classes[rows])
            total.index_add_(0, rows, gradients.square() if squared else gradients)
    return Explanation(
        images=images,
        maps=(total / samples).abs().amax(dim=2),
        targets=classes,
        method="smooth-grad",
        signed=False,
        class_names=classifier.class_names,
        logits=logits,
        settings=settings,
        cost=probe.cost(),
    )
