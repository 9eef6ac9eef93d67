"""torchvision:NAME, for those whose torchvision fits their torch."""

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ResourceError, choose
from convscope.models._adapters import numbers, require
from convscope.resizing import Resize


def load_torchvision(name: str) -> Classifier:
    """A classifier of torchvision with its default weights, resizing, mean, std and class names.

    torchvision fetches the weights on first use and checks their hash.

    Raises:
        UsageError: torchvision is missing or broken, or has no network of that name.
        ResourceError: The weights are not on this machine and cannot be fetched.
    """
    library = require("torchvision", "torchvision:", extra="pip install torchvision")
    choose("torchvision network", name, library.models.list_models(module=library.models))
    weights = library.models.get_model_weights(name).DEFAULT
    try:
        module = library.models.get_model(name, weights=weights)
    except OSError as error:
        raise ResourceError(
            f"its weights cannot be fetched: {error}", where=f"torchvision:{name}"
        ) from error
    wanted = weights.transforms()
    side, shorter = (
        int(size[0] if isinstance(size, list | tuple) else size)
        for size in (wanted.crop_size, wanted.resize_size)
    )
    names = weights.meta.get("categories")
    if not names:
        raise CheckpointError("no class names", code="C12", where=f"torchvision:{name}")
    return Classifier(
        module=module.eval(),
        class_names=tuple(names),
        input_shape=(3, side, side),
        mean=numbers(list(wanted.mean), 3, "mean"),
        std=numbers(list(wanted.std), 3, "std"),
        source=f"torchvision:{name} ({weights})",
        resize=Resize(
            shortest=shorter,
            crop=(side, side),
            resample=wanted.interpolation.value,
            center="round",
        ),
    )
