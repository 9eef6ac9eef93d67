"""Limitations of a report, and how to reproduce it."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from convscope.errors import ConvscopeError
from convscope.files import SETTINGS, read_text
from convscope.reports import Section
from convscope.studies import AUDIT_SECTIONS
from convscope.studies._context import Audit

PACKAGES = ("convscope", "torch", "numpy", "pillow", "scikit-learn", "matplotlib")
FLAGS = {
    "train-mode": "The network was in training mode. It is judged in evaluation mode, as it would "
    "be used.",
    "softmax-output": "The network seems to return probabilities where logits are expected: say "
    "so with probabilities=True, or figures on attacks and gradients may mislead.",
    "randomized": "The network returns different logits for the same image each time. Figures "
    "are of single draws.",
}
"""What the flags of a classifier mean for the reader of a report."""


def limits(audit: Audit, section: Section) -> None:
    """Plain words about what the figures do not say."""
    n = len(audit.test)
    attacked = audit.attacked_rows.numel()
    section.text(
        f"Accuracy was measured on {n:,} images of `{audit.source}`. It says nothing about images "
        "from elsewhere: other cameras, other hands, other backgrounds."
    )
    section.text(
        f"Robustness was measured on {attacked} images with the attacks listed above. Attacks give "
        "an upper bound: another attack may find changes that these did not."
    )
    section.text(
        "Attribution maps are hypotheses, not proofs. Methods disagree; where they "
        "agree, the hypothesis is better. Optimized images show what maximizes a class score, "
        "which is not what a typical member looks like."
    )
    if audit.classifier.black_box:
        specs = AUDIT_SECTIONS.specs().values()
        left = ", ".join(spec.title for spec in specs if spec.needs)
        section.text(
            "Only the answers of this classifier are known (a black box). What needs its gradients "
            f"or layers is left out: {left}, and the methods named in the other sections. Attacks "
            "without gradients are weak: accuracy under stronger ones is lower."
        )
    for warning in audit.dataset.warnings:
        section.note(warning, level="warning")
        audit.report.alert(warning, section="limits")
    for flag in audit.classifier.flags:
        sentence = FLAGS.get(flag, f"The network: {flag}.")
        section.note(sentence, level="warning")
        audit.report.alert(sentence, section="limits")


def reproduce(audit: Audit, section: Section) -> None:
    """Command, hashes, versions, seed, and the settings of the run."""
    if audit.command:
        section.code(audit.command, caption="The command that made this report.")
    section.facts(
        {
            "Network": audit.classifier.source,
            "Weights": "unknown: a black box"
            if audit.classifier.black_box
            else f"SHA-256 of all tensors {weights_digest(audit)[:32]}…",
            "Data": audit.dataset.source,
            "Seed": audit.seed,
            "Images per section": audit.count,
            "Images attacked": audit.attacked,
            "Processor": f"{platform.machine()}, {torch.get_num_threads()} threads, "
            f"{torch.backends.cpu.get_cpu_capability()}",
            "Python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
            **audit.about,
        }
    )
    if audit.dataset.hashes:
        section.table(
            [{"title": "file", "kind": "code"}, {"title": "SHA-256", "kind": "code"}],
            [[name, digest] for name, digest in audit.dataset.hashes.items()],
            caption="The data files.",
        )
    folder = audit.run_folder
    config = folder / "config.toml" if folder is not None else None
    if config is not None and config.exists():
        with section.details("Settings of the training run"):
            try:
                text = read_text(config, SETTINGS)
            except ConvscopeError as error:
                section.text(f"config.toml cannot be used: {error.what}")
                return
            section.code(text[:20_000], caption="config.toml: convscope train --config repeats it.")


def weights_digest(audit: Audit) -> str:
    """SHA-256 over the names and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(audit.classifier.module.state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
