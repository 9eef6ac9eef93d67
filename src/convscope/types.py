"""Names for the arrays that travel through the package.

Every image in the public interface is float32, NCHW, with pixels in [0, 1]. To a type checker the
names are plain ``torch.Tensor``; the test suite also checks shapes and dtypes at run time
(``tests/conftest.py`` switches that on).
"""

from typing import Literal, Protocol

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Images = Float[Tensor, "batch channel height width"]
ByteImages = UInt8[Tensor, "batch channel height width"]
Activations = Float[Tensor, "batch *activation"]
Heatmaps = Float[Tensor, "batch height width"]
ClassHeatmaps = Float[Tensor, "batch target height width"]
Logits = Float[Tensor, "batch class"]
Probabilities = Float[Tensor, "batch class"]
Labels = Int[Tensor, "batch"]
Classes = Int[Tensor, "target"]
ClassImages = Float[Tensor, "target channel height width"]
Values = Float[Tensor, "batch"]
Counts = Int[Tensor, "batch"]
Mask = Bool[Tensor, "batch"]
Curves = Float[Tensor, "step batch"]
ObjectMasks = Bool[Tensor, "batch height width"]

Norm = Literal["linf", "l2"]
Keep = Literal["first", "best"]
ObjectiveName = Literal["cross-entropy", "margin", "dlr", "logit", "probability"]
StepRule = Literal["plain", "adam"]


class TakesImages(Protocol):
    """Anything that says which images it takes: a `Classifier`, for example."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        ...
