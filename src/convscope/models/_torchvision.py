"""torchvision:NAME, for those whose torchvision fits their torch."""

from __future__ import annotations

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ResourceError, choose
from convscope.models._description import Description, naming_classes
from convscope.models._factory import load_into
from convscope.models._libraries import numbers, require
from convscope.resizing import Resize

NOTHING = Description()


def load_torchvision(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """A classifier of torchvision with its default weights, resizing, mean, std and class names.

    torchvision fetches the weights on first use and checks their hash.

    Args:
        name: As in ``torchvision.models.list_models()``.
        about: Weights of one's own instead of the default ones, size, names, mean, std.
        allow_nonfinite: Let NaN and infinity pass in the weights of `about`.

    Raises:
        UsageError: torchvision is missing or broken, or has no network of that name.
        CheckpointError: The weights of `about` do not fit.
        ResourceError: The weights are not on this machine and cannot be fetched.
    """
    library = require("torchvision")
    choose("torchvision network", name, library.models.list_models(module=library.models))
    weights = library.models.get_model_weights(name).DEFAULT
    flags: tuple[str, ...] = ()
    names = weights.meta.get("categories")
    if about.weights is not None:
        classes = {"num_classes": len(about.class_names)} if about.class_names else {}
        module = library.models.get_model(name, weights=None, **classes)
        with naming_classes(about):
            flags = load_into(module, about.weights, allow_nonfinite=allow_nonfinite)
        source = f"torchvision:{name}, weights {about.weights.name}"
    else:
        try:
            module = library.models.get_model(name, weights=weights)
        except OSError as error:
            raise ResourceError(
                f"its weights are not on this machine and cannot be fetched: {error}",
                where=f"torchvision:{name}",
                hint="on a connected machine save the state_dict with safetensors; here: "
                f"torchvision:{name} --weights FILE",
            ) from error
        source = f"torchvision:{name} ({weights})"
    wanted = weights.transforms()
    side, shorter = (
        int(size[0] if isinstance(size, list | tuple) else size)
        for size in (wanted.crop_size, wanted.resize_size)
    )
    names = about.class_names or names
    if not names:
        raise CheckpointError(
            "no class names",
            code="C12",
            where=f"torchvision:{name}",
            hint="name them: --classes FILE, one per line",
        )
    return Classifier(
        module=module.eval(),
        class_names=tuple(names),
        input_shape=about.input_shape or (3, side, side),
        mean=about.mean or numbers(list(wanted.mean), 3, "mean"),
        std=about.std or numbers(list(wanted.std), 3, "std"),
        source=source,
        flags=flags,
        resize=Resize(
            shortest=shorter,
            crop=(side, side),
            resample=wanted.interpolation.value,
            center="round",
        )
        if about.input_shape in (None, (3, side, side))
        else None,
    )
