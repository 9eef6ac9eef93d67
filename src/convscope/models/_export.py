"""Write a classifier in the format of another program, and prove that it gives the same there."""

from __future__ import annotations

import io
import json
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope._network.black_box import refuse_black_box
from convscope._network.frozen_copy import frozen_copy
from convscope._network.trial_run import random_images
from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, UsageError
from convscope.files import checked_path, whole_folder, write_whole
from convscope.models._config import ModelConfig
from convscope.models._load import load
from convscope.models._matching import recognize
from convscope.models._registry import EXPORTS
from convscope.models._safetensors import write_tensors

TOLERANCE, ELSEWHERE = 1e-5, 1e-4
"""How far logits may be apart after a round trip, as a share of the largest: what is written is
loaded on the CPU, and a network that is elsewhere sums in another order."""

COMPARED = 4


def export_model(
    classifier: Classifier, to: str, out: Path | str, *, force: bool = False
) -> dict[str, Any]:
    """Write a classifier in another format; it is loaded again, and its logits are compared.

    Args:
        classifier: Any that has weights, on any device; mean and std go into ``onnx`` and
            ``torch-export`` graphs, and stand beside the weights of the others.
        to: A name in `EXPORTS`.
        out: The file or folder.
        force: Write over what is there.

    Returns:
        ``format``, ``path``, ``reload`` (the MODEL that it now is) and ``difference``, the
        largest of logits after the round trip, as a share of the largest logit; ``None`` if it
        cannot be loaded without the code of the network.

    Raises:
        UsageError: U01 for an unknown format, U13 if `out` is taken, M22 if a library is missing.
        ModelContractError: M26 for a black box; M27 if the format cannot hold the network, or
            gives other logits.
        ResourceError: The disk refuses.

    Example:
        >>> import tempfile
        >>> from convscope.models import load
        >>> done = export_model(load("mnist-conv1"), "safetensors",
        ...     Path(tempfile.mkdtemp()) / "net.safetensors")
        >>> done["difference"]
        0.0
    """
    write = EXPORTS.chosen("format", to)
    refuse_black_box(classifier.module, "weights")
    path = checked_path(Path(out))
    if path.exists() and not force:
        raise UsageError("already exists", code="U13", where=path, hint="another --out, or --force")
    reload = write(classifier, path, force)
    difference = None if reload is None else _difference(classifier, reload)
    most = TOLERANCE if classifier.device.type == "cpu" else ELSEWHERE
    if difference is not None and not difference <= most:
        raise ModelContractError(
            f"what was written gives other logits, by {difference:.1e} of the largest",
            code="M27",
            where=path,
        )
    return {
        "format": EXPORTS.known(to),
        "path": str(path),
        "reload": reload,
        "difference": difference,
    }


class WithPreprocessing(nn.Module):
    """Pixels in [0, 1] to logits: mean, std and all that is between, in one graph."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = frozen_copy(classifier.module).to("cpu")
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(batch, class)``."""
        c = self.classifier
        x = images if c.preprocess is None else c.preprocess(images)
        if c.mean is not None:
            x = x - torch.tensor(c.mean).view(1, -1, 1, 1)
        if c.std is not None:
            x = x / torch.tensor(c.std).view(1, -1, 1, 1)
        found: Any = self.network(x)
        if c.output is not None:
            found = c.output(found)
        if c.probabilities:
            found = found.clamp_min(torch.finfo(torch.float32).tiny).log()
        return found


def _difference(classifier: Classifier, reload: str) -> float:
    again = load(reload)
    images = random_images(COMPARED, classifier.input_shape)
    with classifier.probe() as one, again.probe() as other:
        ours, theirs = one.logits(images), other.logits(images)
    return float((ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-30))


def _cannot(to: str, error: Exception) -> ModelContractError:
    words = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return ModelContractError(
        f"the network cannot be written as {to}: {words[:200] or type(error).__name__}",
        code="M27",
        hint="weights alone: --to safetensors",
    )


def _ready(classifier: Classifier, to: str) -> nn.Module:
    if classifier.dtype != torch.float32:
        raise _cannot(to, TypeError(f"it computes in {classifier.dtype}"))
    if any(isinstance(part, torch.jit.ScriptModule) for part in classifier.module.modules()):
        raise _cannot(to, TypeError("it is TorchScript, which cannot be traced again"))
    return WithPreprocessing(classifier).eval()


def to_onnx(classifier: Classifier, path: Path, force: bool) -> str:
    """An ONNX file with an open batch axis, and the class names in its metadata."""
    for library in ("onnx", "onnxscript"):
        try:
            __import__(library)
        except ImportError as error:
            raise UsageError(
                f"--to onnx needs {library}, which is not installed", code="M22",
                hint=EXPORTS.spec("onnx").install,
            ) from error  # fmt: skip
    import onnx

    module = _ready(classifier, "onnx")
    images = random_images(2, classifier.input_shape)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            program: Any = torch.onnx.export(
                module, (images,), dynamo=True, input_names=["images"], output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
            )  # fmt: skip
        except Exception as error:
            raise _cannot("onnx", error) from error
    model = program.model_proto
    onnx.helper.set_model_props(model, {"class_names": json.dumps(classifier.class_names)})
    write_whole(path, model.SerializeToString())
    return f"onnx:{path}"


def to_torch_export(classifier: Classifier, path: Path, force: bool) -> str:
    """A file of ``torch.export.save`` with an open batch axis."""
    module, data = _ready(classifier, "torch-export"), io.BytesIO()
    images = random_images(2, classifier.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                module, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)
            )
            torch.export.save(program, data)
        except Exception as error:
            raise _cannot("torch-export", error) from error
    write_whole(path, data.getvalue())
    return f"export:{path}"


def to_safetensors(classifier: Classifier, path: Path, force: bool) -> str | None:
    """The weights bit by bit; the header says classes, size, mean and std."""
    table = classifier.module.state_dict()
    state = {name: value.cpu() for name, value in table.items() if isinstance(value, Tensor)}
    if not state:
        raise _cannot("safetensors", TypeError("it has no weights"))
    about = {
        "class_names": classifier.class_names,
        "input_shape": classifier.input_shape,
        "mean": classifier.mean,
        "std": classifier.std,
        "source": classifier.source,
    }
    try:
        name, classes, _ = recognize(state, path)
    except CheckpointError:
        write_whole(path, write_tensors(state, {"description": json.dumps(about)}))
        return None
    if classes != classifier.num_classes or classifier.preprocess is not None:
        write_whole(path, write_tensors(state, {"description": json.dumps(about)}))
        return None
    config = ModelConfig(
        architecture=name,
        class_names=classifier.class_names,
        input_shape=classifier.input_shape,
        mean=classifier.mean,
        std=classifier.std,
        weights=path.name,
        source=classifier.source,
        extra={},
    )
    write_whole(path, write_tensors(state, {"convscope": config.to_json()}))
    return str(path)


def to_hugging_face(classifier: Classifier, path: Path, force: bool) -> str:
    """A folder of transformers: config, weights, and the settings of its image processor."""
    module: Any = classifier.module
    if not hasattr(module, "save_pretrained") or not hasattr(module, "config"):
        raise ModelContractError(
            f"{type(module).__name__} is no network of transformers, which alone has such folders",
            code="M27",
            hint="--to safetensors, onnx or torch-export",
        )
    channels, height, width = classifier.input_shape
    resize = classifier.resize
    settings: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": classifier.mean is not None or classifier.std is not None,
        "image_mean": list(classifier.mean or (0.0,) * channels),
        "image_std": list(classifier.std or (1.0,) * channels),
        "resample": 2,
    }
    if resize is not None:
        settings["resample"] = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}.get(
            resize.resample, 2
        )
        if resize.shortest is not None:
            settings |= {
                "image_processor_type": "MobileNetV2ImageProcessor",
                "size": {"shortest_edge": resize.shortest},
                "do_center_crop": True,
                "crop_size": {"height": height, "width": width},
            }
    with whole_folder(path, force=force) as draft:
        module.save_pretrained(draft)
        (draft / "preprocessor_config.json").write_text(json.dumps(settings, indent=1))
    return f"hf:{path}"
