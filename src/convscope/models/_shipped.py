"""Weights that come with the package."""

from importlib.resources import files
from pathlib import Path

from convscope.classifier import Classifier
from convscope.errors import CheckpointError
from convscope.models._loading import load_file


def weights_folder() -> Path:
    """Where ``NAME.safetensors`` and ``NAME.json`` of shipped networks lie."""
    return Path(str(files("convscope.models"))) / "weights"


def shipped() -> tuple[str, ...]:
    """Names of the registry that `load` knows weights for, sorted."""
    return tuple(sorted(path.stem for path in weights_folder().glob("*.safetensors")))


def load_shipped(name: str, *, allow_nonfinite: bool = False) -> Classifier:
    """The network `name` with the weights of this package.

    Raises:
        CheckpointError: There are none; the text says how to train it.
    """
    if name not in shipped():
        known = shipped()
        raise CheckpointError(
            f"{name} is a network without shipped weights",
            code="C11",
            expected=f"one of {', '.join(known)}" if known else "no weights are shipped yet",
            hint=f"train it: convscope train {name} --data digits --out runs/{name}",
        )
    return load_file(weights_folder() / f"{name}.safetensors", allow_nonfinite=allow_nonfinite)
