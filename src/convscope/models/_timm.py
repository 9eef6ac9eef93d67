"""timm:NAME, for those who have timm."""

from convscope.classifier import Classifier
from convscope.errors import ResourceError, choose
from convscope.models._adapters import numbers, require


def load_timm(name: str) -> Classifier:
    """A pretrained classifier of timm with the mean, std and size of its ``pretrained_cfg``.

    Raises:
        UsageError: timm is missing or broken, or has no network of that name.
        ResourceError: The weights are not on this machine and cannot be fetched.
    """
    library = require("timm", "timm:", extra="pip install timm")
    choose("timm network", name.partition(".")[0], library.list_models())
    try:
        module = library.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise ResourceError(f"its weights cannot be fetched: {error}", where=f"timm:{name}") from (
            error
        )
    settings = module.pretrained_cfg
    channels, height, width = settings["input_size"]
    count = int(module.num_classes)
    names = settings.get("label_names") or [f"class {index}" for index in range(count)]
    return Classifier(
        module=module.eval(),
        class_names=tuple(names),
        input_shape=(channels, height, width),
        mean=numbers(list(settings["mean"]), channels, "mean"),
        std=numbers(list(settings["std"]), channels, "std"),
        source=f"timm:{name}",
    )
