"""The one way from a MODEL as users write it to a classifier."""

from difflib import get_close_matches
from pathlib import Path

from convscope.classifier import Classifier
from convscope.errors import CheckpointError
from convscope.files import usable_path
from convscope.models._factory import load_factory
from convscope.models._hugging_face import load_hugging_face
from convscope.models._loading import TORCH_SUFFIXES, load_file, load_folder
from convscope.models._registry import MODELS
from convscope.models._shipped import load_shipped
from convscope.models._timm import load_timm
from convscope.models._torchvision import load_torchvision

FORMS = (
    "a run folder, a .safetensors file, a network with shipped weights, hf:OWNER/NAME,"
    " hf:DIRECTORY, torchvision:NAME, timm:NAME or package.module:factory"
)


def load(spec: str | Path, *, allow_nonfinite: bool = False) -> Classifier:
    """A classifier from wherever it is.

    Nothing from a file is ever executed, and no network loads half: a file that is cut, damaged,
    hostile or made for another network is refused with a sentence.

    Args:
        spec: In this order:

            - ``hf:DIRECTORY`` or ``hf:OWNER/NAME``: an image classifier of transformers;
            - ``torchvision:NAME``, ``timm:NAME``: when those are installed;
            - a folder that ``convscope train`` wrote, or a ``.safetensors`` file (a foreign
              ``.pt`` state_dict is read too, after many checks);
            - a name of `MODELS` whose weights are `shipped`;
            - ``package.module:factory``: your own code, which is imported and run.
        allow_nonfinite: Load weights with NaN or infinity, to look at them.

    Returns:
        The classifier, in evaluation mode, with its normalization; ``source`` says where it came
        from and ``flags`` what is odd about it.

    Raises:
        CheckpointError: C01 to C19 of the catalogue of bad inputs, each with what to do.
        NumericalError: C13, NaN or infinity in the weights.
        UsageError: A library that the spec needs is missing.
        ResourceError: Nothing can be read or fetched.

    Example:
        >>> import tempfile, torch
        >>> from convscope.models import build, load, save_model
        >>> net = build("mnist-conv1", generator=torch.Generator().manual_seed(0))
        >>> folder = save_model(
        ...     tempfile.mkdtemp(), module=net, architecture="mnist-conv1",
        ...     class_names=[str(digit) for digit in range(10)], input_shape=(1, 28, 28),
        ... )
        >>> load(folder).predict(torch.zeros(2, 1, 28, 28), top=1).labels.shape
        torch.Size([2, 1])
    """
    text = str(spec)
    prefix, _, rest = text.partition(":")
    path = usable_path(spec, CheckpointError)
    if prefix == "hf" and rest:
        return load_hugging_face(rest, allow_nonfinite=allow_nonfinite)
    if prefix == "torchvision" and rest:
        return load_torchvision(rest)
    if prefix == "timm" and rest:
        return load_timm(rest)
    if path.is_dir() and (text not in MODELS or (path / "config.json").is_file()):
        return load_folder(path, allow_nonfinite=allow_nonfinite)
    if text in MODELS:
        return load_shipped(text, allow_nonfinite=allow_nonfinite)
    if path.exists() or path.suffix in (".safetensors", *TORCH_SUFFIXES):
        return load_file(path, allow_nonfinite=allow_nonfinite)
    if rest and all(part.isidentifier() for part in (*prefix.split("."), rest)):
        return load_factory(text)
    near = get_close_matches(text, MODELS, n=2, cutoff=0.6)
    raise CheckpointError(
        f"no model {text!r}",
        code="C11",
        expected=FORMS,
        hint=f"did you mean {' or '.join(near)}?" if near else "convscope models list",
    )
