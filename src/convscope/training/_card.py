"""README.md of a run folder: a model card with what is known, and nothing that is not."""

from collections.abc import Sequence

from convscope.data import Dataset
from convscope.errors import printable
from convscope.training._events import Measured
from convscope.training._settings import TrainSettings


def model_card(
    settings: TrainSettings, dataset: Dataset, history: Sequence[Measured], *, bit_exact: bool
) -> str:
    """The text of a run's ``README.md``.

    It has no dates, so that a resumed run writes the same bytes as one that was left alone.

    Args:
        settings: What was trained.
        dataset: On what.
        history: The rows of ``metrics.csv``.
        bit_exact: Whether every session of the run had the same software and threads.
    """
    last = history[-1] if history else None
    classes = ", ".join(printable(name, 40) for name in dataset.class_names[:20])
    more = ", ..." if len(dataset.class_names) > 20 else ""
    weights = "moving average of the weights" if settings.ema else "weights of the last step"
    result = (
        f"| validation accuracy | {last.validation_accuracy:.2%} of {last.validation_images} |\n"
        f"| validation loss | {last.validation_loss:.4f} |\n"
        f"| training accuracy (augmented images, last interval) | {last.train_accuracy:.2%} |\n"
        if last
        else "| validation accuracy | not trained |\n"
    )
    shown = dataset.name if dataset.name == settings.data else f"{settings.data} ({dataset.name})"
    adversary = (
        f"Trained against {settings.adversary} in an L-infinity ball of {settings.epsilon:g}.\n"
        if settings.adversary != "none"
        else "Not trained against adversaries: small changes of an image can change its class.\n"
    )
    return f"""# {printable(settings.model)} trained on {printable(shown)}

| | |
|---|---|
| network | {printable(settings.model)} |
| data | {printable(shown)}: {len(dataset.train)} training, {len(dataset.validation)} validation images |
| classes | {classes}{more} |
| recipe | {settings.preset}, {settings.epochs} epochs of {settings.optimizer}, seed {settings.seed} |
| delivered | {weights} |
{result}| same bits when repeated on the same machine and threads | {"yes" if bit_exact else "no: see env.json"} |

Input: {dataset.input_shape[0]}x{dataset.input_shape[1]}x{dataset.input_shape[2]} images with pixels in [0, 1];
`config.json` holds the normalisation, which is part of the classifier.

The test images were not looked at. Judge the classifier once, when all choices are made:

    convscope eval RUN_FOLDER --data {printable(settings.data)}

## Limits
It knows only the classes above and answers with one of them whatever it is shown.
{adversary}
## Files
`model.safetensors` + `config.json`: the classifier. `config.toml`: every setting; `convscope train --config` repeats the run.
`metrics.csv`: curves by step. `env.json`: versions, threads, SHA-256 of the data. `checkpoints/`: state to resume from.
"""  # noqa: E501
