"""A classifier: pixels in, logits out.

Normalization is part of the classifier, so attacks and explanations all work on pixels in [0, 1]
and a perturbation size means the same everywhere.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope._inputs import (
    class_names_of,
    image_batch,
    image_shape,
    numbered,
    per_channel,
    whole_numbers,
)
from convscope._network.black_box import ROWS, BlackBox
from convscope._network.execution import decide, execution_of, fingerprint, remember
from convscope._network.outputs import read_logits, read_scores, sums_to_one
from convscope._network.trial_run import run_trial
from convscope._readable import readable
from convscope.devices import WITHOUT_STORAGE
from convscope.errors import ModelContractError, NumericalError, UsageError
from convscope.probe import LayerInfo, Probe
from convscope.resizing import Resize
from convscope.types import Images, Labels, Logits, Probabilities

PLACE = "place"
"""Where a private copy of a network, which does not change, keeps its device and dtype."""

LARGEST = 2.0
"""Largest mean or std that makes sense for pixels in [0, 1]; larger ones count gray levels."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The most probable classes of each image, most probable first.

    Attributes:
        labels: ``(batch, top)``, class indices.
        probabilities: ``(batch, top)``, softmax of the logits.
        class_names: One name per class.
        images: ``(batch, channel, height, width)``, what was predicted; None where it was not kept.
        image_names: What to call each image; empty where nobody named them.
    """

    labels: Tensor
    probabilities: Tensor
    class_names: tuple[str, ...]
    images: Images | None = None
    image_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def names(self, row: int) -> tuple[str, ...]:
        """The class names of image `row`, most probable first."""
        return tuple(self.class_names[label] for label in self.labels[row].tolist())


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A network together with everything needed to read its answers.

    Attributes:
        module: The network. Nothing in this package changes its weights, buffers or modes.
        class_names: One name per logit, in order.
        input_shape: ``(channel, height, width)`` of the images it expects.
        mean: Per-channel mean that is subtracted from pixels in [0, 1]; ``None``: nothing is.
        std: Per-channel divisor, in the same unit.
        preprocess: Any other differentiable map from pixels to the network's input, applied
            before `mean` and `std`.
        output: Picks the logits out of what the network returns, for networks that return a
            tuple, a dict or an object.
        probabilities: True if the network ends in a softmax; logarithms are then taken.
        source: Where the network came from; goes into every report.
        flags: What `wrap` noticed: ``"train-mode"``, ``"softmax-output"``, ``"randomized"``.
        resize: How image files are brought to `input_shape`; ``None``: by one antialiased bilinear
            resize of the largest center window of these proportions.
    """

    module: nn.Module
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocess: Callable[[Tensor], Tensor] | None = None
    output: Callable[[object], Tensor] | None = None
    probabilities: bool = False
    source: str = "a network in memory"
    flags: tuple[str, ...] = ()
    resize: Resize | None = None
    _executions: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.class_names:
            raise UsageError("class_names is empty; a classifier has at least one class")
        channels = self.input_shape[0]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, channels):
                raise UsageError(
                    f"{name} has {len(values)} values for {channels} channels",
                    expected=f"1 or {channels} values, in units of pixels in [0, 1]",
                )
        if self.std is not None and not all(0 < value < math.inf for value in self.std):
            raise UsageError(f"std must be positive, got {self.std}", code="U12")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and not all(abs(value) <= LARGEST for value in values):
                shown = ", ".join(f"{value:g}" for value in values)
                raise UsageError(
                    f"{name} is {shown}: these are no units of pixels in [0, 1]",
                    code="U12",
                    expected="values such as 0.485 (mean) and 0.229 (std)",
                    hint="divide mean and std by 255 if they are meant for pixels from 0 to 255",
                )
        if self.resize is not None and self.resize.output != tuple(self.input_shape[1:]):
            raise UsageError(
                f"resize makes images of {self.resize.output}",
                code="U10",
                expected=f"{tuple(self.input_shape[1:])}, as input_shape says",
            )

    def headline(self) -> str:
        """Such as ``"MobileNetV2, 1,000 classes, input 3 x 224 x 224"``."""
        shape = " x ".join(map(str, self.input_shape))
        return f"{type(self.module).__name__}, {self.num_classes:,} classes, input {shape}"

    @property
    def num_classes(self) -> int:
        """How many classes the network tells apart."""
        return len(self.class_names)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self._tensors()).device

    @property
    def black_box(self) -> bool:
        """Whether only its answers are known: no weights, layers or gradients."""
        return isinstance(self.module, BlackBox)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that the network computes in."""
        found = [t for t in self._tensors() if t.is_floating_point()]
        wide = next((t for t in found if t.ndim >= 2), None)
        return found[0].dtype if wide is None else wide.dtype

    def _tensors(self) -> Iterator[Tensor]:
        # Not self.module.buffers(): a network may use that name for a list of its own.
        yield from nn.Module.parameters(self.module)
        yield from nn.Module.buffers(self.module)
        yield torch.zeros((), dtype=torch.float32, device="cpu")

    def logits(self, images: Images) -> Logits:
        """Class scores before softmax, ``(batch, class)``, differentiable.

        The network runs as it is, in one batch and in its current modes. Methods use `probe`.

        Raises:
            ModelContractError: If the network does not return one row of scores per image.
        """
        return self.to_logits(self.module(self.prepare(images)), len(images)).to(images.dtype)

    def prepare(self, images: Images) -> Tensor:
        """Pixels in [0, 1] to the network's input, which never shares memory with `images`.

        A network may normalize its input in place.
        """
        x = images if self.preprocess is None else self.preprocess(images.clone())
        device, dtype = self._executions.get(PLACE) or (self.device, self.dtype)
        if x.dtype != dtype or x.device != device:
            x = x.to(device=device, dtype=dtype)
        if self.mean is not None:
            x = x - x.new_tensor(self.mean).view(1, -1, 1, 1)
        if self.std is not None:
            x = x / x.new_tensor(self.std).view(1, -1, 1, 1)
        return x.clone() if _same_memory(x, images) else x

    def to_logits(self, returned: object, count: int) -> Logits:
        """The logits in what the network returned for `count` images.

        Raises:
            ModelContractError: M01 for a tuple or dict without `output`, M02 for another shape.
        """
        return read_logits(returned, self.output, count, self.num_classes, self.probabilities)

    def raw_scores(self, returned: object, count: int) -> Tensor:
        """What the network returned for `count` images, with any number of classes above one.

        Raises:
            ModelContractError: M01, M02, or M03 for a single output.
        """
        return read_scores(returned, self.output, count, self.probabilities)

    def predict(self, images: Images, top: int = 3) -> Predictions:
        """The `top` most probable classes of each image.

        Args:
            images: ``(batch, channel, height, width)``, pixels in [0, 1].
            top: How many classes; at most all of them.

        Raises:
            NumericalError: M09 if the network returns NaN (or infinity) for an image.
        """
        return next(self.predict_each([images], top))

    def predict_each(self, batches: Iterable[Images], top: int = 3) -> Iterator[Predictions]:
        """As `predict`, batch after batch: any number of images in the memory of one batch.

        Args:
            batches: Each ``(batch, channel, height, width)``, pixels in [0, 1]. What the network
                runs on is a copy, made when the first is asked for.
            top: How many classes; at most all of them.

        Raises:
            NumericalError: M09 if the network returns NaN (or infinity) for an image.

        Example:
            >>> import torch
            >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
            >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
            >>> batches = (torch.rand(count, 1, 2, 2) for count in (3, 2))
            >>> [len(found) for found in classifier.predict_each(batches, top=1)]
            [3, 2]
        """
        if isinstance(top, bool) or not isinstance(top, numbers.Integral):
            raise UsageError(f"top is {top!r:.80}", code="U05", expected="a whole number")
        top = int(min(max(top, 1), self.num_classes))
        with self.probe() as probe:
            for batch in batches:
                images = self.check_images(batch)
                yield self._most_probable(images, probe.logits(images), top)

    def _most_probable(self, images: Images, logits: Logits, top: int) -> Predictions:
        probabilities: Probabilities = logits.softmax(dim=1)
        bad = (~probabilities.isfinite().all(dim=1)).nonzero()[:, 0].tolist()
        if bad:
            raise NumericalError(
                f"the network's logits for {len(bad)} of {len(images)} images are not finite, "
                f"first for image {bad[0]}",
                code="M09",
                expected="numbers; NaN has no largest class",
                hint="look at the weights, and at what the network divides by",
            )
        best = probabilities.topk(top, dim=1)
        return Predictions(
            labels=best.indices,
            probabilities=best.values,
            class_names=self.class_names,
            images=images,
        )

    def probe(self) -> Probe:
        """A context in which methods may run the network; see `convscope.probe.Probe`."""
        return Probe(self)

    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer in the order of its first call, with output shape and parameters."""
        with self.probe() as probe:
            return probe.layers()

    def check_images(self, images: object, name: str = "images") -> Images:
        """A batch of this classifier's images, or a refusal.

        Args:
            images: ``(batch, channel, height, width)``, pixels in [0, 1]: a floating-point tensor,
                NumPy array or nested list.
            name: What to call them in an error.

        Returns:
            The images as a float32 tensor on their device, without a graph.

        Raises:
            ImageError: I24 if they are no such batch, or pixels are NaN or outside [0, 1]; M14
                if the number of channels is wrong.
        """
        return image_batch(images, self.input_shape, name)

    def check_labels(self, labels: object, count: int, name: str = "labels") -> Labels:
        """`labels` as int64, one per image.

        Args:
            labels: Whole numbers in a tensor, NumPy array or list.
            count: How many there have to be.
            name: What to call them in an error.

        Raises:
            UsageError: U08 if one is not a class, U10 if they are no `count` whole numbers.
        """
        row = whole_numbers(labels, name)
        if row.ndim != 1 or len(row) != count:
            raise UsageError(
                f"{name} have shape {tuple(row.shape)}",
                code="U10",
                expected=f"{count} whole numbers, one per image",
            )
        if count and not (int(row.min()) >= 0 and int(row.max()) < self.num_classes):
            wrong = next(v for v in row.tolist() if not 0 <= v < self.num_classes)
            raise UsageError(
                f"{name} contain {wrong}", code="U08", expected=f"0 to {self.num_classes - 1}"
            )
        return row

    @classmethod
    def wrap(
        cls,
        module: nn.Module,
        *,
        input_shape: tuple[int, int, int],
        class_names: tuple[str, ...] | list[str] | None = None,
        mean: tuple[float, ...] | list[float] | None = None,
        std: tuple[float, ...] | list[float] | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        output: Callable[[object], Tensor] | None = None,
        probabilities: bool = False,
        source: str = "",
    ) -> Classifier:
        """Turn any ``nn.Module`` into a `Classifier`, after running it once on two images.

        Args:
            module: The network; it is left as it was found.
            input_shape: ``(channel, height, width)`` of one image.
            class_names: One name per logit. By default ``"class 0", "class 1", ...``.
            mean: Per-channel mean of the training pixels, in [0, 1] units.
            std: Per-channel standard deviation, likewise.
            preprocess: Another differentiable map, applied before `mean` and `std`.
            output: Picks the logits out of a tuple, dict or object.
            probabilities: Say that the network ends in a softmax; logarithms are taken.
            source: A sentence on where the network came from.

        Raises:
            ModelContractError: M01 tuple or dict returned, M02 wrong shape, M03 one output only,
                M14 the network fails on such images, M21 number of names differs from the number
                of classes, M23 a lazy network, M24 logits depend on the batch.
            UsageError: U12 if a shape, mean, std or name makes no sense.

        Example:
            >>> import torch
            >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
            >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2), class_names=["a", "b"])
            >>> classifier.predict(torch.rand(3, 1, 2, 2), top=1).labels.shape
            torch.Size([3, 1])
        """
        if not isinstance(module, nn.Module):
            raise ModelContractError(
                f"expected a torch.nn.Module, got {type(module).__name__}",
                code="M22",
                hint="wrap(module, input_shape=(channel, height, width)), with an instance"
                if isinstance(module, type)
                else "for a function: Classifier.from_function(predict, input_shape=...)",
            )
        for name, given in (("preprocess", preprocess), ("output", output)):
            if given is not None and not callable(given):
                raise UsageError(f"{name} is {given!r:.80}", code="U12", expected="a function")
        if not isinstance(probabilities, bool | np.bool_):
            raise UsageError(
                f"probabilities is {probabilities!r:.80}", code="U12", expected="True or False"
            )
        if not isinstance(source, str):
            raise UsageError(f"source is {source!r:.80}", code="U12", expected="a text")
        if any(t.device.type == "meta" for t in nn.Module.parameters(module)):
            raise ModelContractError(
                "the network is on the meta device: its parameters have no values",
                code="M23",
                expected="weights in memory",
                hint="load them: module.to_empty(device='cpu'), then load_state_dict",
            )
        draft = cls(
            module=module,
            class_names=("?",),
            input_shape=image_shape(input_shape),
            mean=per_channel("mean", mean),
            std=per_channel("std", std),
            preprocess=preprocess,
            output=output,
            probabilities=bool(probabilities),
            source=source or f"{type(module).__name__} in memory",
        )
        seen = run_trial(draft)
        scores = seen.scores
        names = class_names_of(class_names) or numbered(scores.shape[1])
        if len(names) != scores.shape[1]:
            raise ModelContractError(
                f"the network has {scores.shape[1]} classes, class_names has {len(names)}",
                code="M21",
                hint="give one name per logit, in order",
            )
        flags = (
            ["train-mode"] if any(getattr(m, "training", False) for m in module.modules()) else []
        )
        if not probabilities and sums_to_one(scores):
            flags.append("softmax-output")
        if seen.randomized:
            flags.append("randomized")
        bad = int((~scores.isfinite().all(dim=1)).sum())
        if bad:
            flags.append(f"nonfinite-logits: of {bad} of {len(scores)} random images")
        named = replace(draft, class_names=names, flags=tuple(flags))
        if isinstance(module, BlackBox):
            module.draws = seen.draws
        else:
            remember(named._executions, fingerprint(module), decide(named, seen))
        return named

    def preprocessing(self) -> str:
        """In words, what happens to an image before the network sees it.

        Example:
            >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
            >>> Classifier.wrap(net, input_shape=(1, 2, 2), mean=[0.5]).preprocessing()
            'image files: largest center window, resized to 2 x 2; pixels in [0, 1] minus 0.5'
        """
        height, width = self.input_shape[1:]
        usual = f"largest center window, resized to {height} x {width}"
        steps = [f"image files: {usual if self.resize is None else self.resize}"]
        pixels = "pixels in [0, 1]"
        if self.preprocess is not None:
            pixels += f", through {getattr(self.preprocess, '__name__', 'a function of its own')}"
        for word, values in (("minus", self.mean), ("divided by", self.std)):
            if values is not None:
                pixels += f" {word} {', '.join(f'{value:.4g}' for value in values)}"
        return "; ".join([*steps, pixels])

    @classmethod
    def from_function(
        cls,
        predict: Callable[[np.ndarray[Any, Any]], Any],
        *,
        input_shape: tuple[int, int, int],
        class_names: tuple[str, ...] | list[str] | None = None,
        mean: tuple[float, ...] | list[float] | None = None,
        std: tuple[float, ...] | list[float] | None = None,
        probabilities: bool | None = None,
        batch_size: int = ROWS,
        source: str = "",
    ) -> Classifier:
        """A black box: anything that answers, such as an API, scikit-learn or TensorFlow Lite.

        Whatever needs answers only works on it: predictions, evaluation, occlusion, RISE, the
        Square attack, robustness by these, certification. Methods that need gradients or layers
        refuse with M26. `predict` is tried here on a few random images (13 in all), and after that
        runs only for images that a method asks about. It is called as it is, not copied.

        Args:
            predict: Gets a float32 NumPy array ``(batch, channel, height, width)`` of its own,
                pixels in [0, 1] (minus `mean`, by `std`, if given), and returns one row of scores
                or probabilities per image: an array, a tensor or lists.
            input_shape: ``(channel, height, width)`` of one image.
            class_names: One name per class. By default ``"class 0", "class 1", ...``.
            mean: Per channel, subtracted from pixels in [0, 1] before the call.
            std: Per channel, the divisor.
            probabilities: Whether it returns probabilities: their logarithms are taken. ``None``:
                whether each row that it returned for random images was one.
            batch_size: The most images that it gets at once; 1 for what takes single images.
            source: A sentence on what it is.

        Raises:
            ModelContractError: M14 if it fails, M01, M02 or M03 for what it returns, M21 for a
                wrong number of names, M24 if the answer for an image depends on its batch.
            UsageError: U12 if an argument makes no sense.

        Example:
            >>> import torch
            >>> bright = Classifier.from_function(
            ...     lambda pixels: [[1 - x.mean(), x.mean()] for x in pixels],
            ...     input_shape=(1, 2, 2), class_names=["dark", "bright"])
            >>> bright.predict(torch.ones(1, 1, 2, 2), top=1).names(0), bright.probabilities
            (('bright',), True)
        """
        if not callable(predict) or isinstance(predict, type):
            raise UsageError(f"predict is {predict!r:.80}", code="U12", expected="a function")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UsageError(
                f"batch_size is {batch_size!r:.80}", code="U12", expected="at least 1 image"
            )
        name = getattr(predict, "__qualname__", type(predict).__name__)
        box = BlackBox(predict, rows=batch_size, name=f"{name}()")
        made = cls.wrap(
            box.eval(),
            input_shape=input_shape,
            class_names=class_names,
            mean=mean,
            std=std,
            probabilities=bool(probabilities),
            source=source or f"{name}(), a black box in memory",
        )
        if probabilities is not None or "softmax-output" not in made.flags:
            return made
        flags = tuple(flag for flag in made.flags if flag != "softmax-output")
        return replace(made, probabilities=True, flags=flags)

    def describe(self) -> dict[str, Any]:
        """What this classifier is and on which path it runs, as plain values.

        Returns:
            ``source``, ``classes``, ``input_shape``, ``mean``, ``std``, ``device``, ``dtype``,
            ``parameters``, ``resize``, ``execution`` (``"plain (...)"`` or ``"fast: ... (...)"``,
            each with the reason) and ``flags``.

        Example:
            >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
            >>> Classifier.wrap(net, input_shape=(1, 2, 2)).describe()["execution"]
            "fast: channels-last (every module is torch's or ours)"
        """
        return {
            "source": self.source,
            "classes": self.num_classes,
            "input_shape": list(self.input_shape),
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "resize": None if self.resize is None else str(self.resize),
            "execution": str(execution_of(self)),
            "flags": list(self.flags),
        }

    def _repr_html_(self) -> str:
        from html import escape

        if self.black_box:
            return f"<p><b>{escape(self.source)}</b>: {escape(self.headline())}</p>"
        rows = "".join(
            f"<tr><td>{escape(x.name)}</td><td>{escape(x.kind)}</td>"
            f"<td>{escape(' x '.join(map(str, x.output_shape)))}</td><td>{x.parameters:,}</td></tr>"
            for x in self.layers()
        )
        return (
            f"<p><b>{escape(self.source)}</b>: {self.num_classes} classes, "
            f"input {' x '.join(map(str, self.input_shape))}</p><table><tr><th>layer</th>"
            f"<th>kind</th><th>output</th><th>parameters</th></tr>{rows}</table>"
        )


def _same_memory(x: Tensor, images: Tensor) -> bool:
    if x is images or x.device.type in WITHOUT_STORAGE:
        return True
    if x.device != images.device:
        return False
    try:
        return x.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # Layouts without a storage.
        return True
