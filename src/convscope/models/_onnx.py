"""onnx:FILE, as a network of PyTorch layers that is compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope._network.row_by_row import RowByRow
from convscope._network.trial_run import random_images
from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, NumericalError, UsageError
from convscope.files import usable_path
from convscope.models._description import Description
from convscope.models._factory import with_log_probabilities
from convscope.models._onnx_file import OnnxFile, read_onnx
from convscope.models._onnx_graph import NotImported, OnnxBuilder

NOTHING = Description()
TOLERANCE = 1e-5
"""How far our logits may be from ONNX Runtime's, as a share of the largest."""

ROUNDINGS = 4.0
"""Or this many times as far as ours are from themselves in double precision."""

COMPARED = 4
"""Random images that are compared."""

FLOATS = {1: np.float32, 10: np.float16, 11: np.float64}
BYTES = 2
"""Element type uint8, as `onnx.TensorProto` numbers it."""

Run = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def load_onnx(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """A classifier from an ONNX file: its operators become a graph of PyTorch layers.

    Where ONNX Runtime is installed, logits of random images are compared with its own, and a file
    that is not imported faithfully becomes a black box that runs there; a flag says why.

    Args:
        name: The file.
        about: What the file does not say: size, class names, mean and std.
        allow_nonfinite: Let NaN and infinity pass in its weights.

    Raises:
        CheckpointError: C05, C07, C08, C18, C19, C21 for a file that is damaged, hostile or no
            image classifier; C21 for an operator that is not known, without ONNX Runtime.
        NumericalError: C13, NaN or infinity in the weights.
        UsageError: The library onnx is missing; U11 if weights are given.
        ModelContractError: M22 if nobody says the size of the images, M21 for a wrong number of
            class names.
    """
    where = f"onnx:{name}"
    if about.weights is not None:
        raise UsageError(f"{where} has its own weights", code="U11", expected="no --weights")
    path = usable_path(name, CheckpointError)
    file = read_onnx(path)
    shape, channels_last = _image_shape(file, about, where)
    output = file.model.graph.output[0].name
    run = _runtime(file, output)
    problem = "" if file.kind in FLOATS else "its input are whole numbers"
    flags: tuple[str, ...] = ()
    module: nn.Module | None = None
    if not problem:
        try:
            module, flags = _imported(file, shape, channels_last, output, run)
        except NotImported as error:
            problem = str(error)
    options: dict[str, Any] = {
        "input_shape": shape,
        "class_names": about.class_names or file.class_names(),
        "mean": about.mean,
        "std": about.std,
        "source": where,
    }
    if module is None:
        if run is None:
            raise CheckpointError(
                f"it cannot be imported: {problem}",
                code="C21",
                where=path,
                hint="pip install onnxruntime: then it runs there, as a black box",
            )
        found = _black_box(file, run, channels_last, options)
        flags = (f"black-box: it runs in ONNX Runtime, without gradients, because {problem}",)
        return replace(found, flags=(*found.flags, *flags))
    _check_weights(module, path, allow_nonfinite=allow_nonfinite)
    found = with_log_probabilities(Classifier.wrap(module, **options))
    return replace(found, flags=(*found.flags, *flags))


def _image_shape(
    file: OnnxFile, about: Description, where: str
) -> tuple[tuple[int, int, int], bool]:
    """Channels, height and width of its images, and whether the file has channels last."""
    _, *sizes = file.shape
    channels_last = sizes[0] not in (1, 3, 4) and sizes[2] in (1, 3, 4)
    theirs = (sizes[2], sizes[0], sizes[1]) if channels_last else tuple(sizes)
    given = about.input_shape or (None, None, None)
    found = tuple(own or other for own, other in zip(theirs, given, strict=True))
    if None in found:
        raise ModelContractError(
            f"the file leaves the size of its images open: {_sizes(theirs)}",
            code="M22",
            where=where,
            expected="channels, height and width of its images",
            hint="add --input-shape 3,224,224 with your sizes",
        )
    if about.input_shape and found != tuple(about.input_shape):
        raise ModelContractError(
            f"the file takes images of {_sizes(theirs)}",
            code="M14",
            where=where,
            hint="leave --input-shape out",
        )
    channels, height, width = (int(size or 0) for size in found)
    return (channels, height, width), channels_last


def _sizes(sizes: Any) -> str:
    return " x ".join("?" if size is None else str(size) for size in sizes)


def _imported(
    file: OnnxFile,
    shape: tuple[int, int, int],
    channels_last: bool,
    output: str,
    run: Run | None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network, compared with ONNX Runtime, and what is odd about it.

    Raises:
        NotImported: An operator is not known, or the numbers differ.
    """
    if file.shape[0] not in (None, 1):
        raise NotImported(f"it was made for batches of {file.shape[0]} images")

    def graph(rows: int) -> nn.Module:
        builder = OnnxBuilder(
            file, rows=rows, shape=shape, channels_last=channels_last, log_softmax=run is not None
        )
        return builder.module(output)

    notes = () if run is not None else ("not compared: ONNX Runtime is not installed",)
    fixed = file.shape[0] == 1
    try:
        module = graph(2)
        if run is not None:
            _compare(module, run, shape, channels_last)
        elif fixed:
            # That it takes many images now has to be proven by what it gives for each alone.
            _compare(module, _each_alone(graph(1)), shape, False)
        return module, notes
    except NotImported:
        if not fixed:
            raise
    # It was made for one image, and its sizes are written into it.
    alone = RowByRow(graph(1)).eval()
    if run is not None:
        _compare(alone, run, shape, channels_last)
    note = "row-by-row: the file is for one image at a time; layers cannot be seen"
    return alone, (note, *notes)


def _each_alone(module: nn.Module) -> Run:
    """What a network gives for each image by itself."""
    return lambda images: RowByRow(module)(torch.from_numpy(images)).numpy()


def _compare(module: nn.Module, run: Run, shape: tuple[int, int, int], last: bool) -> None:
    """Refuse a module that does not give the numbers of ONNX Runtime.

    Raises:
        NotImported: With the difference.
    """
    images = random_images(COMPARED, shape)
    images[COMPARED // 2 :] = images[COMPARED // 2 :] * 4 - 2
    with torch.no_grad():
        try:
            ours = module(images).double()
        except Exception as error:
            raise NotImported(f"it fails on {COMPARED} images: {error}") from error
        theirs = torch.from_numpy(run(_laid_out(images, last))).double()
        if ours.shape != theirs.shape:
            raise NotImported(f"{tuple(ours.shape)} scores instead of {tuple(theirs.shape)}")
        is_log = _is_log(ours, theirs)
        ours = ours.exp() if is_log else ours
        known = theirs.isfinite()
        if not torch.equal(ours.isfinite(), known):
            raise NotImported("ONNX Runtime gives NaN or infinity elsewhere")
        ours, theirs = ours[known], theirs[known]
        if not len(ours):
            return
        scale = float(theirs.abs().max().clamp_min(1e-30))
        difference = float((ours - theirs).abs().max()) / scale
        if difference <= TOLERANCE:
            return
        exact = module.double()(images.double())
        exact = (exact.exp() if is_log else exact)[known]
        module.float()
        rounding = float((ours - exact).abs().max()) / scale
    if not difference <= ROUNDINGS * rounding:
        raise NotImported(
            f"its logits differ from ONNX Runtime's by {difference:.1e} of the largest"
        )


def _is_log(ours: Tensor, theirs: Tensor) -> bool:
    """Whether ours are logarithms of probabilities where theirs are the probabilities."""
    return bool((theirs >= 0).all()) and bool((ours <= 0).all()) and bool((ours < 0).any())


def _laid_out(images: Tensor, last: bool) -> np.ndarray[Any, Any]:
    array = images.numpy()
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if last else array)


def _runtime(file: OnnxFile, output: str) -> Run | None:
    """What ONNX Runtime computes, image by image where the file says so; ``None`` without it.

    The session gets the bytes that were checked, opens no file, and knows no custom operators.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            file.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise CheckpointError(
            f"ONNX Runtime refuses it: {str(error).splitlines()[0][:200]}", code="C21"
        ) from error
    size, kind = file.shape[0], FLOATS.get(file.kind, np.float32)

    def run(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if file.kind == BYTES:
            images = np.rint(images * 255).astype(np.uint8)
        else:
            images = images.astype(kind)
        step = size or len(images)
        parts = []
        for start in range(0, len(images), step):
            part = images[start : start + step]
            count = len(part)
            if count < step and size:
                part = np.concatenate([part, np.repeat(part[-1:], step - count, axis=0)])
            parts.append(session.run([output], {file.input: part})[0][:count])
        return np.concatenate(parts).astype(np.float32)

    return run


def _black_box(
    file: OnnxFile, run: Run, channels_last: bool, options: dict[str, Any]
) -> Classifier:
    if file.kind not in FLOATS and file.kind != BYTES:
        raise CheckpointError(
            "its input are no pixels: floating-point numbers or bytes", code="C21",
            where=options["source"],
        )  # fmt: skip

    def answer(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return run(np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if channels_last else images)

    return Classifier.from_function(answer, **options)


def _check_weights(module: nn.Module, path: Path, *, allow_nonfinite: bool) -> None:
    bad = [name for name, value in module.state_dict().items() if not bool(value.isfinite().all())]
    if bad and not allow_nonfinite:
        raise NumericalError(
            f"NaN or infinity in {', '.join(bad[:3])}",
            code="C13",
            where=path,
            hint="--allow-nonfinite loads it to look at",
        )
