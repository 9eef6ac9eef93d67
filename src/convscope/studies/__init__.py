"""Audits of one classifier, and studies that answer course documents: experiments with a page.

`audit` writes a report folder, and `convscope.reports.render` turns that into one HTML file.
`AUDIT_SECTIONS` is the registry of its sections; nothing is imported before one is filled.

`run_study` answers one of the course documents (`DOCUMENTS`) question by question. `STUDIES` is the
registry; a study is a package of functions that are read from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from convscope._registry import Registry, Spec, lazy
from convscope.studies._documents import DOCUMENTS, Document, all_rows, row_text
from convscope.studies._study import QuestionSpec, Study, StudyContent, StudySpec

if TYPE_CHECKING:
    from convscope.studies._audit import AuditFound, AuditResult, audit, audit_judging, audit_of
    from convscope.studies._audit_judging import AuditJudging
    from convscope.studies._index import write_index
    from convscope.studies._question import Picture, Question
    from convscope.studies._run_study import StudyResult, missing_materials, run_study
    from convscope.studies._stages import Found, JudgedSection

__all__ = [
    "AUDIT_SECTIONS",
    "DOCUMENTS",
    "STUDIES",
    "AuditFound",
    "AuditJudging",
    "AuditResult",
    "Document",
    "Found",
    "JudgedSection",
    "Picture",
    "Question",
    "QuestionSpec",
    "SectionSpec",
    "Study",
    "StudyContent",
    "StudyResult",
    "StudySpec",
    "all_rows",
    "audit",
    "audit_judging",
    "audit_of",
    "missing_materials",
    "row_text",
    "run_study",
    "write_index",
]


@dataclass(frozen=True)
class SectionSpec(Spec):
    """What an audit knows of one of its sections.

    Attributes:
        home: ``"_module:function"``, which is called with the audit in progress and the section
            to fill; or a `JudgedSection` of that name, whose stages many processes may share.
        about: The lead: a sentence or two for readers who see such a thing for the first time.
        title: Heading.
        needs: What a black box lacks for it: ``"layers"`` or ``"gradients"``; empty: it is filled
            for every classifier, as far as its methods go.
        predictions: Whether it looks at the predictions of all images that are judged, which are
            made before.
        asked: Whether it is there only for those who ask for it: ``audit(playable=True)``.
    """

    title: str = ""
    needs: Literal["", "layers", "gradients"] = ""
    predictions: bool = False
    asked: bool = False


AUDIT_SECTIONS: Registry[Callable[[Any, Any], None], SectionSpec] = Registry(
    "convscope.studies",
    SectionSpec,
    {
        "performance": SectionSpec(
            "_performance:performance",
            "Accuracy on images that the network was not trained on, its mistakes, and whether its "
            "confidence matches its accuracy.",
            title="Accuracy and calibration",
            predictions=True,
        ),
        "playground": SectionSpec(
            "_playground:playground",
            "The network itself, in this page and without a server: give it an image, see why it "
            "answers as it does, and fool it.",
            title="Playground",
            needs="layers",
            asked=True,
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
            predictions=True,
        ),
        "looking": SectionSpec(
            "_explanations:looking",
            "Which pixels raise the score of the class? Several methods, because each has blind "
            "spots.",
            title="Attribution maps",
            predictions=True,
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
            predictions=True,
        ),
        "noises": SectionSpec(
            "_noises:noises",
            "One perturbation for all images, images synthesized from noise, perturbations "
            "transferred to other images.",
            title="Universal and transferred perturbations",
            needs="gradients",
            predictions=True,
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

STUDIES: Registry[StudyContent, StudySpec] = Registry(
    "convscope.studies",
    StudySpec,
    {
        "convolutional-networks": StudySpec(
            "_convolutional_networks:CONTENT",
            "Three networks on MNIST with L2, one adversarial noise per class, and images that "
            "maximize logits and neurons.",
            aliases=("000",),
            title="Programming Assignment 2: Convolutional Neural Networks",
            document="000",
            data=("digits", "mnist"),
            minutes=(2, 24),
        ),
        "mnist-report": StudySpec(
            "_mnist_report:CONTENT",
            "A small network on MNIST: batch normalization, feature maps, occlusion, adversarial "
            "images, optimized images, inner maps, and three defenses.",
            aliases=("001",),
            title="Assignment 2: Convolutional Neural Networks",
            document="001",
            data=("digits", "mnist"),
            minutes=(1.5, 18),
        ),
        "assignment-2-report": StudySpec(
            "_assignment_2_report:CONTENT",
            "A small network on MNIST: training with and without batch normalization, filters, "
            "activation maps, occlusion, and three kinds of adversarial images.",
            aliases=("002",),
            title="EE6132 Assignment 2: Convolutional Neural Networks",
            document="002",
            data=("digits", "mnist"),
            minutes=(1.5, 13),
        ),
        "homework-2": StudySpec(
            "_homework_2:CONTENT",
            "An ImageNet network on photos, feature maps, transfer to pets, CIFAR-10 with 11x11 "
            "filters, four fooled photos, and an adder of three hidden units.",
            aliases=("003",),
            title="CS 5787 Deep Learning, Homework 2",
            document="003",
            data=("digits", "cifar10"),
            minutes=(1.5, 70),
        ),
        "snu-assignment-2": StudySpec(
            "_snu_assignment_2:CONTENT",
            "Layers by hand with their gradients checked, a network with inception modules on "
            "CIFAR-10, saliency maps, class images, and adversarial examples.",
            aliases=("004",),
            title="Assignment 2: Convolutional Neural Networks",
            document="004",
            data=("digits", "cifar10"),
            minutes=(1.5, 65),
        ),
    },
)
"""Studies in the order of the documents. The entry is imported when a study runs."""


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_audit": "audit audit_judging audit_of AuditFound AuditResult",
            "_audit_judging": "AuditJudging",
            "_question": "Picture Question",
            "_index": "write_index",
            "_stages": "Found JudgedSection",
            "_run_study": "missing_materials run_study StudyResult",
        },
    )
