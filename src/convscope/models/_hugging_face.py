"""Image classifiers in the format of the transformers library: a folder, or a name on the Hub."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, ResourceError, printable
from convscope.files import MODEL_CONFIG, read_json, read_json_table, usable_path
from convscope.models._adapters import numbers, require
from convscope.models._matching import check_finite
from convscope.models._safetensors import check_header

PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a preprocessor_config.json asks for, with mean and std for pixels in [0, 1]."""

    size: tuple[int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


def pick_logits(returned: object) -> Tensor:
    """The logits of a transformers output object."""
    logits = getattr(returned, "logits", None)
    if not isinstance(logits, Tensor):
        raise ModelContractError(f"{type(returned).__name__} has no logits", code="M01")
    return logits


def load_hugging_face(name: str, *, allow_nonfinite: bool = False) -> Classifier:
    """``hf:DIRECTORY`` or ``hf:OWNER/NAME``.

    Only safetensors weights are read, and no code that a repository brings. Weights that the
    architecture wants and the file lacks are refused, not filled with random numbers. Mean, std
    and size come from ``preprocessor_config.json``, class names from ``config.json``.

    Raises:
        UsageError: transformers is not installed.
        CheckpointError: No image classifier, incomplete weights, damaged files.
        NumericalError: NaN or infinity in the weights.
        ResourceError: Not on this machine and the Hub cannot be reached.
    """
    library = require("transformers", "hf:", extra='pip install "convscope[hub]"')
    folder = usable_path(name, CheckpointError)
    local = folder.is_dir()
    if local:
        # What transformers is about to open must be files, and no deeper than a parser can go.
        for described in sorted(folder.glob("*.json")):
            read_json(described, MODEL_CONFIG)
        for weights in sorted(folder.glob("*.safetensors")):
            check_header(weights)
    elif name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise CheckpointError("no such folder", code="C07", where=name)
    with _quiet(library):
        module, report = _fetch(library, name, local)
        settings = _preprocessor(folder if local else None, name)
    for what in ("missing_keys", "mismatched_keys", "unexpected_keys", "error_msgs"):
        if found := sorted(map(str, report.get(what) or ())):
            raise CheckpointError(
                f"{len(found)} {what.replace('_', ' ')}: {', '.join(found[:5])}",
                code="C10",
                where=name,
            )
    if not allow_nonfinite:
        for key, value in module.state_dict().items():
            check_finite(key, value, name)
    channels = int(getattr(module.config, "num_channels", 3))
    wanted = read_preprocessing(settings, channels, name)
    labels: Mapping[int, str] = module.config.id2label
    return Classifier(
        module=module.eval(),
        class_names=tuple(str(labels[index]) for index in sorted(labels)),
        input_shape=(channels, *wanted.size),
        mean=wanted.mean,
        std=wanted.std,
        output=pick_logits,
        source=f"hf:{printable(name)} ({module.config.model_type})",
    )


def read_preprocessing(settings: Mapping[str, Any], channels: int, where: str) -> Preprocessing:
    """Size, mean and std from the keys that transformers' image processors use.

    A processor turns a pixel ``p`` in 0..255 into ``(p * rescale_factor - mean) / std``. For a
    pixel in [0, 1] that is the same with mean and std divided by ``255 * rescale_factor``.

    Raises:
        CheckpointError: A value makes no sense.

    Example:
        >>> read_preprocessing({"size": 28, "image_mean": 0.5, "image_std": 0.25}, 1, "here")
        Preprocessing(size=(28, 28), mean=(0.5,), std=(0.25,))
    """
    cropped = settings.get("do_center_crop", "crop_size" in settings)
    size = _size(settings.get("crop_size" if cropped else "size", 224), where)
    mean = std = None
    if settings.get("do_normalize", True):
        mean = numbers(settings.get("image_mean"), channels, "image_mean")
        std = numbers(settings.get("image_std"), channels, "image_std")
    factor = 255.0
    if settings.get("do_rescale", True):
        rescale = settings.get("rescale_factor", 1 / 255)
        if type(rescale) not in (int, float) or not 1e-9 < rescale < 1e9:
            raise CheckpointError(
                f"rescale_factor is {str(rescale)[:40]}",
                code="C17",
                where=f"{where}/{PREPROCESSOR}",
                expected="a positive number, such as 1/255",
            )
        factor *= rescale
    if abs(factor - 1) > 1e-6:
        mean = None if mean is None else tuple(value / factor for value in mean)
        std = tuple(value / factor for value in (std or (1.0,) * channels))
    return Preprocessing(size=size, mean=mean, std=std)


def _size(value: Any, where: str) -> tuple[int, int]:
    if isinstance(value, Mapping):
        edge = value.get("shortest_edge")
        value = (value.get("height", edge), value.get("width", edge))
    if isinstance(value, int):
        value = (value, value)
    if not isinstance(value, tuple | list) or len(value) != 2:
        value = (None, None)
    if not all(type(side) is int and 1 <= side <= 16384 for side in value):
        raise CheckpointError(
            "the size of its images cannot be read", code="C17", where=f"{where}/{PREPROCESSOR}"
        )
    return (value[0], value[1])


def _preprocessor(folder: Path | None, name: str) -> Mapping[str, Any]:
    if folder is not None:
        path = folder / PREPROCESSOR
    else:
        hub = require("huggingface_hub", "hf:", extra='pip install "convscope[hub]"')
        path = Path(_online(lambda: hub.hf_hub_download(name, PREPROCESSOR), name))
    return read_json_table(path, MODEL_CONFIG)


def _fetch(library: Any, name: str, local: bool) -> tuple[Any, dict[str, Any]]:
    return _online(
        lambda: library.AutoModelForImageClassification.from_pretrained(
            name,
            local_files_only=local,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        ),
        name,
    )


def _online(fetch: Callable[[], Any], name: str) -> Any:
    try:
        return fetch()
    except (ConnectionError, TimeoutError) as error:
        raise _offline(name) from error
    except Exception as error:
        text = " ".join(str(error).split())
        if any(word in text for word in ("connect", "offline", "Max retries", "resolve host")):
            raise _offline(name) from error
        raise CheckpointError(
            f"transformers cannot load it: {text}",
            code="C11",
            where=name,
            expected="an image classifier with safetensors weights",
        ) from error


def _offline(name: str) -> ResourceError:
    return ResourceError(
        "not on this machine, and the Hub cannot be reached",
        where=f"hf:{name}",
        hint=f"on a connected machine: hf download {name} --local-dir DIR; then use hf:DIR",
    )


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """No bars and no advice from transformers while it loads; its settings return after."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
