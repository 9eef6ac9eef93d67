"""The five course documents that the studies answer, and the rows of what each of them asks for.

A row is one demand or one result of a document that has to have its figure or table in a study.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Document:
    """A course document.

    Attributes:
        author: Who wrote it; empty where nobody is named.
        title: As printed, without the course's name where that is not part of it.
        institution: Where.
        year: When, in words; documents without a date say so.
        kind: What it is.
        rows: Number to demand, in the document's order.
        numbers: What the document itself calls a row, where that is not the row's number; empty
            for a demand that it does not number.
    """

    author: str
    title: str
    institution: str
    year: str
    kind: str
    rows: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, str] = field(default_factory=dict)

    @property
    def citation(self) -> str:
        """Author, title, institution and year in one line.

        Example:
            >>> DOCUMENTS["003"].citation
            '"CS 5787 Deep Learning, Homework 2", Cornell Tech, Spring 2019'
        """
        author = f"{self.author}, " if self.author else ""
        return f'{author}"{self.title}", {self.institution}, {self.year}'

    def number(self, row: int) -> str:
        """What stands before the heading of a row.

        Example:
            >>> DOCUMENTS["003"].number(8), DOCUMENTS["002"].number(8)
            ('Problem 4 Part 2', '8')
        """
        return self.numbers.get(row, str(row))


DOCUMENTS: dict[str, Document] = {
    "000": Document(
        author="P. Shedligeri",
        title="Programming Assignment 2: Convolutional Neural Networks",
        institution="IIT Madras",
        year="2017",
        kind="assignment",
        rows={
            1: "one convolution: errors and accuracy over training, test accuracy, random images",
            2: "the same with two convolutions",
            3: "the same with two convolutions and a dense layer of 500",
            4: "MNIST from its binary files, shuffled, 50,000 / 10,000 / 10,000 images",
            5: "L2 regularization of weights only",
            6: "one adversarial noise per class: errors, accuracy, ten noise images",
            7: "nine fixed test images plus each of the ten noises",
            8: "ten images that maximize a logit, and the cost over the iterations",
            9: "images that maximize central neurons of the second max-pool",
        },
    ),
    "001": Document(
        author="G. Pradeep",
        title="Deep Learning for Computer Vision, Assignment 2: Convolutional Neural Networks",
        institution="IIT Madras",
        year="undated",
        kind="report",
        rows={
            1: "batch normalization against none: 97.53 and 98.69 %",
            2: "tables of dimensions, neurons and parameters",
            3: "feature maps of both convolutions",
            4: "occlusion, window 12 x 12, stride 4",
            5: "non-targeted images from N(0.5, 0.05)",
            6: "targeted images: a 2 predicted as 3, 6 and 8",
            7: "noise that turns a 0 into a 4 and a 5, added to other images",
            8: "image optimization from a zero image with L2",
            9: "what maximizing an inner map does to the logits",
            10: "defenses: blur, threshold, adversarial training",
        },
    ),
    "002": Document(
        author="S. Sahoo",
        title="EE6132 Assignment 2: Convolutional Neural Networks",
        institution="IIT Madras",
        year="24 September 2019",
        kind="report",
        rows={
            1: "training: losses over the iterations, test images, 98.92 %",
            2: "799,078 parameters, 2,654 neurons",
            3: "batch normalization: losses, accuracy with and without, 99.05 %",
            4: "filters of conv1, and of conv2 those that see map 23",
            5: "activation maps of both convolutions",
            6: "occlusion, window 14 x 14, stride 7, of a 7 and a 9: nine images and the table",
            7: "non-targeted images of all classes",
            8: "targeted images that look like a 7 and like a 2, beta 1000",
            9: "noise towards 7 and towards 4, and one noise on random images",
        },
    ),
    "003": Document(
        author="",
        title="CS 5787 Deep Learning, Homework 2",
        institution="Cornell Tech",
        year="Spring 2019",
        kind="homework",
        rows={
            1: "an ImageNet network on peppers: three most probable classes",
            2: "five early, five middle and five late feature maps",
            3: "transfer learning on Oxford Pets: mean-per-class accuracy",
            4: "CIFAR-10 with 11 x 11 filters: filters, loss, test accuracy",
            5: "the same with batch normalization",
            6: "a deeper and better network",
            7: "four photos fooled within an L-infinity ball: the 4 x 3 figure",
            8: "the four under flip, crop, rotation and grayscale",
            9: "a recurrent binary adder by hand",
            10: "a PDF with the code in it",
        },
        numbers={
            1: "Problem 1 Part 1",
            2: "Problem 1 Part 2",
            3: "Problem 2",
            4: "Problem 3 Part 1",
            5: "Problem 3 Part 2",
            6: "Problem 3 Part 3",
            7: "Problem 4 Part 1",
            8: "Problem 4 Part 2",
            9: "Problem 5",
            10: "",
        },
    ),
    "004": Document(
        author="S. Kim",
        title="Assignment 2 (CNN part)",
        institution="Data Science Laboratory, Seoul National University",
        year="2018",
        kind="assignment",
        rows={
            1: "convolution and max-pool, forward and backward, by hand",
            2: "convolution against cross-correlation, stride, padding",
            3: "CIFAR-10: train, evaluate, explore hyperparameters",
            4: "inception module with 1 x 1 reductions",
            5: "saliency, class representative images, adversarial examples",
            6: "notebooks; networks of another library",
        },
    ),
}
"""By the number under which rows are counted: ``"002.6"`` is row 6 of document 002."""


def row_text(row: str) -> str:
    """What a row such as ``"002.6"`` asks for.

    Example:
        >>> row_text("001.3")
        'feature maps of both convolutions'
    """
    key, _, number = row.partition(".")
    return DOCUMENTS[key].rows[int(number)]


def all_rows() -> tuple[str, ...]:
    """Every row of every document.

    Example:
        >>> len(all_rows()), all_rows()[0]
        (44, '000.1')
    """
    return tuple(
        f"{key}.{number}" for key, document in DOCUMENTS.items() for number in document.rows
    )
