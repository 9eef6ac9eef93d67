"""Image classifiers in the format of the transformers library: a folder, or a name on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, ResourceError, printable
from convscope.files import MODEL_CONFIG, read_json, read_json_table, usable_path
from convscope.models._description import Description
from convscope.models._libraries import require
from convscope.models._matching import check_finite
from convscope.models._processor import (
    PREPROCESSOR,
    check_against,
    flip_channels,
    read_preprocessing,
    refuse_unknown,
)
from convscope.models._safetensors import check_header

HUB_SECONDS = 5.0
NOTHING = Description()


def pick_logits(returned: object) -> Tensor:
    """The logits of a transformers output object."""
    logits = getattr(returned, "logits", None)
    if not isinstance(logits, Tensor):
        raise ModelContractError(f"{type(returned).__name__} has no logits", code="M01")
    return logits


def load_hugging_face(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """``hf:DIRECTORY`` or ``hf:OWNER/NAME``.

    Only safetensors weights are read, and no code that a repository brings. Weights that the
    architecture wants and the file lacks are refused, not filled with random numbers. Resizing,
    mean and std are those of its image processor (``preprocessor_config.json``), which is tried
    out on two images of noise; class names come from ``config.json``. It describes itself, so
    `about` is empty (`AdapterSpec.describable`).

    Raises:
        UsageError: transformers is not installed.
        CheckpointError: No image classifier, incomplete weights, damaged files.
        NumericalError: NaN or infinity in the weights.
        ResourceError: Not on this machine and the Hub cannot be reached.
    """
    library = require("hf")
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
    # Without a connection the library would try five times and warn each time.
    local = local or not _hub_answers(name)
    with _quiet(library):
        module, report = _fetch(library, name, local)
        channels = int(getattr(module.config, "num_channels", 3))
        settings = _preprocessor(folder if folder.is_dir() else None, name, local)
        refuse_unknown(settings, name)
        processor = _processor(library, name, local)
        wanted = read_preprocessing({**settings, **processor.to_dict()}, channels, name)
        check_against(processor, wanted, channels, name)
    for what in ("missing_keys", "mismatched_keys", "unexpected_keys", "error_msgs"):
        if keys := sorted(map(str, report.get(what) or ())):
            raise CheckpointError(
                f"{len(keys)} {what.replace('_', ' ')}: {', '.join(keys[:5])}",
                code="C10",
                where=name,
            )
    if not allow_nonfinite:
        for key, value in module.state_dict().items():
            check_finite(key, value, name)
    labels: Mapping[int, str] = module.config.id2label
    return Classifier(
        module=module.eval(),
        class_names=tuple(str(labels[index]) for index in sorted(labels)),
        input_shape=(channels, *wanted.size),
        mean=wanted.mean,
        std=wanted.std,
        preprocess=flip_channels if wanted.flipped else None,
        output=pick_logits,
        source=f"hf:{printable(name)} ({module.config.model_type})",
        flags=wanted.notes,
        resize=wanted.resize,
    )


def _hub_answers(name: str) -> bool:
    """One question to the Hub, with a few seconds for the answer, whatever it is."""
    hub = require("hf", "huggingface_hub")
    try:
        hub.get_session().head(hub.hf_hub_url(name, "config.json"), timeout=HUB_SECONDS)
    except Exception:
        return False
    return True


def _preprocessor(folder: Path | None, name: str, local: bool) -> Mapping[str, Any]:
    if folder is not None:
        path = folder / PREPROCESSOR
    else:
        hub = require("hf", "huggingface_hub")
        path = Path(
            _online(lambda: hub.hf_hub_download(name, PREPROCESSOR, local_files_only=local), name)
        )
    return read_json_table(path, MODEL_CONFIG)


def _processor(library: Any, name: str, local: bool) -> Any:
    """The image processor itself, Pillow's variant, with its class's defaults."""
    return _online(
        lambda: library.AutoImageProcessor.from_pretrained(
            name, backend="pil", local_files_only=local, trust_remote_code=False
        ),
        name,
    )


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
        words = ("connect", "offline", "Max retries", "resolve host", "cached files", "local_files")
        if any(word in text for word in words) and not Path(name).is_dir():
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
        hint="if it is a folder, check its path; a name of the Hub, on a connected machine:"
        f" hf download {name} --local-dir DIR; then use hf:DIR",
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
