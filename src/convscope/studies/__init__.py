"""An audit of one classifier: sections that compute, and one report of all that they found.

`audit` writes a report folder, and `convscope.reports.render` turns that into one HTML file.
`AUDIT_SECTIONS` is the registry of its sections; nothing is imported before one is filled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from convscope._registry import Registry, Spec, lazy

if TYPE_CHECKING:
    from convscope.studies._audit import AuditResult, audit

__all__ = ["AUDIT_SECTIONS", "AuditResult", "SectionSpec", "audit"]


@dataclass(frozen=True)
class SectionSpec(Spec):
    """What an audit knows of one of its sections.

    Attributes:
        home: ``"_module:function"``, which is called with the audit in progress and the section
            to fill.
        about: The lead: a sentence or two for readers who see such a thing for the first time.
        title: Heading.
        needs: What a black box lacks for it: ``"layers"`` or ``"gradients"``; empty: it is filled
            for every classifier, as far as its methods go.
    """

    title: str = ""
    needs: Literal["", "layers", "gradients"] = ""


AUDIT_SECTIONS: Registry[Callable[[Any, Any], None], SectionSpec] = Registry(
    "convscope.studies",
    SectionSpec,
    {
        "performance": SectionSpec(
            "_performance:performance",
            "Accuracy on images that the network was not trained on, its mistakes, and whether its "
            "confidence matches its accuracy.",
            title="Accuracy and calibration",
        ),
        "architecture": SectionSpec(
            "_network:architecture",
            "Layer by layer: output shapes, parameters, and multiply-adds.",
            title="Architecture",
            needs="layers",
        ),
        "training": SectionSpec(
            "_network:training",
            "Loss and error over the run.",
            title="Training",
        ),
        "filters": SectionSpec(
            "_inside:filter_pictures",
            "The weights of the convolutions as small pictures.",
            title="Filters",
            needs="layers",
        ),
        "feature-maps": SectionSpec(
            "_inside:maps",
            "The outputs of the layers for one image: bright where a filter responds.",
            title="Feature maps",
            needs="layers",
        ),
        "looking": SectionSpec(
            "_explanations:looking",
            "Which pixels raise the score of the class? Several methods, because each has blind "
            "spots.",
            title="Attribution maps",
        ),
        "trust": SectionSpec(
            "_explanations:trusted",
            "The maps above are put to tests that a meaningless map fails.",
            title="Which explanations to trust",
        ),
        "class-images": SectionSpec(
            "_inside:class_pictures",
            "Images optimized, from a blank start, to maximize the score of a class.",
            title="Class images",
            needs="gradients",
        ),
        "neurons": SectionSpec(
            "_inside:neurons",
            "Images optimized to maximize single neurons inside the network.",
            title="Neurons",
            needs="gradients",
        ),
        "fooling": SectionSpec(
            "_fooling:fooling",
            "Small changes that make the network predict another class.",
            title="Attacks",
        ),
        "noises": SectionSpec(
            "_noises:noises",
            "One perturbation for all images, images synthesized from noise, perturbations "
            "transferred to other images.",
            title="Universal and transferred perturbations",
            needs="gradients",
        ),
        "robustness": SectionSpec(
            "_robustness:robustness",
            "How accuracy falls when every pixel may change a little.",
            title="Robustness",
        ),
        "limits": SectionSpec(
            "_limitations:limits",
            "What this report does not say.",
            title="Limitations",
        ),
        "reproduce": SectionSpec(
            "_limitations:reproduce",
            "Everything needed to make this report again.",
            title="Reproduce",
        ),
    },
)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, {"_audit": "audit AuditResult"})
