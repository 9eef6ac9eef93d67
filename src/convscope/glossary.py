"""The words of the field, and the few that are ours: one record each.

Pages mark a word where it stands first in a section and explain it there; the documentation lists
all. Code uses the same words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

__all__ = ["GLOSSARY", "Term", "find_terms"]


@dataclass(frozen=True)
class Term:
    """A word and what it means.

    Attributes:
        name: The word.
        text: One or two plain sentences; what stands in backticks is code.
        forms: How prose writes it. A form that begins with a small letter may begin with a capital.
            Empty for words that have an everyday meaning too: they are listed, but not marked.
        source: Where the definition comes from, as the bibliography has it.
    """

    name: str
    text: str
    forms: tuple[str, ...] = ()
    source: str = ""

    @property
    def key(self) -> str:
        """The name as an address: small letters, digits and hyphens.

        Example:
            >>> Term("L2 norm", "").key
            'l2-norm'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


GLOSSARY: tuple[Term, ...] = (
    Term(
        "accuracy",
        "Share of images whose predicted class is their label.",
        ("accuracy", "accuracies"),
    ),
    Term(
        "adversarial example",
        "An image that was changed on purpose so that a network misclassifies it.",
        ("adversarial example", "adversarial examples", "adversarial image", "adversarial images"),
        'C. Szegedy and others, "Intriguing properties of neural networks", 2014',
    ),
    Term(
        "adversarial training",
        "Training on images that are attacked anew in every step, so that the network learns to "
        "withstand the attack.",
        ("adversarial training", "adversarially trained"),
        'A. Madry and others, "Towards Deep Learning Models Resistant to Adversarial Attacks", '
        "2018",
    ),
    Term(
        "APGD",
        "PGD without a step size to choose: it begins with large steps and halves them when they "
        "no longer help.",
        ("APGD", "apgd"),
        'F. Croce, M. Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of '
        'Diverse Parameter-free Attacks", 2020',
    ),
    Term(
        "attack",
        "A function that makes adversarial examples: it looks for a small change of an image that "
        "changes the prediction.",
        ("attack", "attacks"),
    ),
    Term(
        "attribution map",
        "How much each pixel counts for the score of a class, as a picture. Methods differ in what "
        "they take counting to mean.",
        ("attribution map", "attribution maps"),
    ),
    Term(
        "audit",
        "One command that judges, explains and attacks a network and writes a report of it: "
        "`convscope audit`, `convscope.studies.audit`.",
    ),
    Term(
        "batch normalization",
        "A layer that subtracts from each channel its mean and divides by its standard deviation, "
        "over the batch in training and over the training data later; then it scales and shifts.",
        ("batch normalization", "batch norm"),
        'S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by '
        'Reducing Internal Covariate Shift", 2015',
    ),
    Term(
        "black box",
        "A network of which only predictions can be had: no weights, layers or gradients.",
        ("black box", "black-box"),
    ),
    Term(
        "calibration error",
        "How far confidences are from accuracies (ECE), averaged over 15 bins of confidence. At 0, "
        "of predictions made with 90 % confidence 90 % are right.",
        ("calibration error", "expected calibration error", "ECE", "calibration"),
        'C. Guo and others, "On Calibration of Modern Neural Networks", 2017',
    ),
    Term(
        "certified radius",
        "L2 distance within which the majority vote of noisy copies provably does not change, "
        "except with probability alpha.",
        ("certified radius", "certified radii", "certified"),
        'J. Cohen and others, "Certified Adversarial Robustness via Randomized Smoothing", 2019',
    ),
    Term(
        "class image",
        "An image optimized from noise until the network's logit of one class is large.",
        ("class image", "class images"),
        'K. Simonyan and others, "Deep Inside Convolutional Networks: Visualising Image '
        'Classification Models and Saliency Maps", 2013',
    ),
    Term(
        "classifier",
        "A network together with the size of its images, the normalization and the names of its "
        "classes: `Classifier`. All methods take one: images in [0, 1] go in, logits come out.",
    ),
    Term(
        "clean accuracy",
        "Share of unchanged images that are classified correctly.",
        ("clean accuracy",),
    ),
    Term(
        "confidence",
        "The probability that the network gives to the class it predicts. High confidence can be "
        "wrong.",
        ("confidence", "confidences"),
    ),
    Term(
        "confidence interval",
        "A range that holds the true value in 95 of 100 such samples. For shares it is Wilson's.",
        ("confidence interval", "confidence intervals", "Wilson interval", "95 % interval"),
        'E. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927',
    ),
    Term(
        "confusion matrix",
        "A table that counts, for every label (row) and every predicted class (column), how many "
        "images there are. Mistakes stand off the diagonal.",
        ("confusion matrix",),
    ),
    Term(
        "control",
        "The same recipe on random weights, or a random map: what a method shows when there is "
        "nothing to see.",
    ),
    Term(
        "convolution",
        "A layer that slides small filters over its input. At each place it multiplies the numbers "
        "under the filter by its weights and adds them up.",
        ("convolution", "convolutions", "convolutional layer", "convolutional layers"),
        'V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016',
    ),
    Term(
        "cost",
        "Forward and backward passes per image that a method needed; `result.cost`.",
    ),
    Term(
        "criterion",
        "When an attack has succeeded: any wrong class, or one target class.",
    ),
    Term(
        "cross-entropy",
        "Minus the logarithm of the probability that the network gives to the label: 0 if it is "
        "sure and right. Training makes its mean small.",
        ("cross-entropy",),
    ),
    Term(
        "data set",
        "Images and labels in three splits, as bytes in memory: `Dataset`.",
    ),
    Term(
        "DDN",
        "An attack that looks for the smallest L2 change: its ball grows while the image is "
        "classified correctly, and shrinks when it is not.",
        ("DDN", "ddn"),
        'J. Rony and others, "Decoupling Direction and Norm for Efficient Gradient-Based L2 '
        'Adversarial Attacks and Defenses", 2019',
    ),
    Term(
        "dead map",
        "A feature map that has the same value everywhere, on every image that was tried.",
        ("dead map", "dead maps", "dead unit", "dead units"),
    ),
    Term(
        "DeepFool",
        "An attack that looks for the smallest change: it steps to the nearest decision boundary "
        "of the linearized network until it is crossed.",
        ("DeepFool", "deepfool"),
        'S.-M. Moosavi-Dezfooli and others, "DeepFool: a simple and accurate method to fool deep '
        'neural networks", 2016',
    ),
    Term(
        "defense",
        "Something done to an image before it is classified, such as blur, to remove an attack. An "
        "adaptive attack knows of it.",
        ("defense", "defenses"),
    ),
    Term(
        "epoch",
        "One pass of training through all training images.",
        ("epoch", "epochs"),
    ),
    Term(
        "epsilon",
        "Radius of the region in which an attack may move, in pixels of [0, 1]. `8/255` means "
        "eight gray levels.",
        ("epsilon", "epsilons", "ε"),
    ),
    Term(
        "explanation",
        "One map per image and target with the relevance of each pixel, raw and signed: "
        "`Explanation`.",
    ),
    Term(
        "feature map",
        "The output of one channel of a convolution for one image.",
        ("feature map", "feature maps"),
    ),
    Term(
        "FGSM",
        "The fast gradient sign method: one step of size epsilon along the sign of the gradient of "
        "the loss.",
        ("FGSM", "fgsm"),
        'I. Goodfellow and others, "Explaining and Harnessing Adversarial Examples", 2015',
    ),
    Term(
        "filter",
        "The weights of one output channel of a convolution.",
        ("filter", "filters", "kernel", "kernels"),
    ),
    Term(
        "flag",
        "A remark on a result with a code and the number of images it concerns, such as a zero "
        "gradient.",
    ),
    Term(
        "fooled",
        "Misclassified after an attack, and classified correctly before (or, with a target, "
        "predicted as the target).",
        ("fooled",),
    ),
    Term(
        "gate",
        "A limit on a number that makes a command end with exit code 1: "
        "`--fail-under accuracy=0.98`.",
    ),
    Term(
        "Grad-CAM",
        "An attribution map from a late layer: its feature maps, weighted by how much each speaks "
        "for the class. It is as coarse as the layer.",
        ("Grad-CAM", "grad-cam"),
        'R. Selvaraju and others, "Grad-CAM: Visual Explanations from Deep Networks via '
        'Gradient-based Localization", 2017',
    ),
    Term(
        "gradient",
        "How much an output changes when each input changes a little, one number per input.",
        ("gradient", "gradients"),
    ),
    Term(
        "gradient masking",
        "A network looks robust because its gradients say nothing, not because its predictions "
        "hold.",
        ("gradient masking", "masked gradients"),
        'A. Athalye and others, "Obfuscated Gradients Give a False Sense of Security", 2018',
    ),
    Term(
        "HiResCAM",
        "As Grad-CAM, but each place of a map is weighted by the gradient at that place.",
        ("HiResCAM", "hires-cam"),
        'R. Draelos, L. Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of '
        'convolutional neural networks", 2020',
    ),
    Term(
        "input times gradient",
        "Each pixel times its gradient: what it adds to the score of a linear network.",
        ("input times gradient", "input-times-gradient"),
        'A. Shrikumar and others, "Not Just a Black Box", 2016',
    ),
    Term(
        "insertion and deletion",
        "A test of a map: show, or hide, the pixels that it calls important first, and see how "
        "fast the score of the class rises or falls.",
        ("insertion and deletion", "insertion", "deletion"),
        'V. Petsiuk and others, "RISE: Randomized Input Sampling for Explanation of Black-box '
        'Models", 2018',
    ),
    Term(
        "integrated gradients",
        "Gradients along the way from an empty image to this one, averaged, times the difference. "
        "Its values add up to the change of the score.",
        ("integrated gradients", "integrated-gradients"),
        'M. Sundararajan and others, "Axiomatic Attribution for Deep Networks", 2017',
    ),
    Term(
        "judge",
        "A second, independently trained network that classifies images made for the first.",
    ),
    Term(
        "L-infinity norm",
        "Size of a change as its largest change of any pixel: `linf`. Within radius epsilon, every "
        "pixel may change by as much.",
        ("L-infinity norm", "L-infinity", "L∞", "linf", "Linf"),
    ),
    Term(
        "L2 norm",
        "Size of a change as the root of the sum of all squared changes: `l2`.",
        ("L2 norm", "L2", "l2"),
    ),
    Term(
        "label",
        "The class that somebody gave to an image. The network predicts, a label is given; both "
        "can be wrong.",
        ("label", "labels"),
    ),
    Term(
        "LayerCAM",
        "As Grad-CAM, but each place of a map is weighted by the positive part of its gradient, so "
        "that earlier layers can be shown, too.",
        ("LayerCAM", "layer-cam"),
        'P.-T. Jiang and others, "LayerCAM: Exploring Hierarchical Class Activation Maps for '
        'Localization", 2021',
    ),
    Term(
        "learning rate",
        "How far weights move along the gradient in one step of training.",
        ("learning rate", "learning rates"),
    ),
    Term(
        "logit",
        "A network's output for a class, before softmax.",
        ("logit", "logits"),
    ),
    Term(
        "mask",
        "Which pixels belong to the object: `split.masks`, known for `shapes` and `pets`.",
    ),
    Term(
        "microbatch",
        "A part of a batch that goes through the network at once; the gradients of all parts make "
        "one update.",
    ),
    Term(
        "multiply-adds",
        "Products that a network adds up for one image: how much work it is.",
        ("multiply-adds", "MACs"),
    ),
    Term(
        "norm",
        "How the size of a change is measured: `linf` is the largest change of a pixel, `l2` the "
        "root of the sum of squares.",
    ),
    Term(
        "normalization",
        "Subtracting mean and dividing by std. It belongs to the classifier, so images are always "
        "in [0, 1].",
    ),
    Term(
        "occlusion",
        "Hiding one window after another and recording how far the score falls.",
        ("occlusion",),
        'M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014',
    ),
    Term(
        "padding",
        "Rows and columns, mostly of zeros, put around the input of a convolution, so that its "
        "filters reach the edge.",
        ("padding",),
        'V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016',
    ),
    Term(
        "parameters",
        "The numbers of a network that training sets: weights, biases, scales and shifts.",
        ("parameters",),
    ),
    Term(
        "part",
        "A folder with the finished blocks of a job; workers share it, and `convscope merge` makes "
        "the report of it.",
    ),
    Term(
        "PGD",
        "Projected gradient descent: many small steps along the sign of the gradient, each "
        "followed by the way back into the region of radius epsilon.",
        ("PGD", "pgd"),
        'A. Madry and others, "Towards Deep Learning Models Resistant to Adversarial Attacks", '
        "2018",
    ),
    Term(
        "pooling",
        "A layer that makes maps smaller: of each window it keeps the largest value, or the mean.",
        ("pooling", "max-pooling", "max pooling", "average pooling"),
    ),
    Term(
        "preset",
        "A named set of training settings: `fast`, `long`, `faithful`, `robust`, `smooth`.",
    ),
    Term(
        "probe",
        "The only way in which methods run a network: a private copy with access to activations "
        "and gradients, `classifier.probe()`. The network itself is left as it was found.",
    ),
    Term(
        "quantization",
        "Rounding pixels to the 256 levels that a saved image has, or weights to few bits. A small "
        "change may be lost in it.",
        ("quantization",),
    ),
    Term(
        "randomized smoothing",
        "Classifying many noisy copies of an image and taking the majority vote, which can be "
        "certified.",
        ("randomized smoothing", "smoothed classifier"),
        'J. Cohen and others, "Certified Adversarial Robustness via Randomized Smoothing", 2019',
    ),
    Term(
        "receptive field",
        "All pixels of the image that a value inside the network can depend on.",
        ("receptive field", "receptive fields"),
        'A. Araujo and others, "Computing Receptive Fields of Convolutional Neural Networks", 2019',
    ),
    Term(
        "recipe",
        "How a class image is optimized (start, step, penalty, blur), or all settings of one "
        "training run.",
    ),
    Term(
        "region",
        "Where images may be: a ball around the original, intersected with [0, 1]. Projections are "
        "exact.",
    ),
    Term(
        "registry",
        "A table from names to entries, with a record of each; lists, help, audits and this site "
        "are derived from it.",
    ),
    Term(
        "ReLU",
        "The function that keeps positive numbers and makes negative ones 0.",
        ("ReLU",),
    ),
    Term(
        "report",
        "A folder with numbers, pictures and tables, and the one HTML file that is rendered from "
        "it.",
    ),
    Term(
        "RISE",
        "An attribution map without gradients: the image is covered by random masks, and a pixel "
        "counts as much as the score is high when it is shown.",
        ("RISE",),
        'V. Petsiuk and others, "RISE: Randomized Input Sampling for Explanation of Black-box '
        'Models", 2018',
    ),
    Term(
        "robust accuracy",
        "Share of images that are classified correctly and that no attack fooled within epsilon.",
        ("robust accuracy",),
        'F. Croce, M. Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of '
        'Diverse Parameter-free Attacks", 2020',
    ),
    Term(
        "run folder",
        "Settings, weights, metrics and checkpoints of one training run; every command takes it as "
        "MODEL.",
    ),
    Term(
        "saliency",
        "How much a tiny change of each pixel would change the score of a class: the absolute "
        "gradient of its logit.",
        ("saliency",),
        'K. Simonyan and others, "Deep Inside Convolutional Networks: Visualising Image '
        'Classification Models and Saliency Maps", 2013',
    ),
    Term(
        "seed",
        "The number from which random draws start. The same seed gives the same draws.",
        ("seed", "seeds"),
    ),
    Term(
        "SmoothGrad",
        "The mean of the saliency maps of many noisy copies of an image.",
        ("SmoothGrad", "smooth-grad"),
        'D. Smilkov and others, "SmoothGrad: removing noise by adding noise", 2017',
    ),
    Term(
        "softmax",
        "What turns logits into probabilities: the exponential of each, divided by their sum.",
        ("softmax",),
    ),
    Term(
        "split",
        "The training, validation or test part of a data set: `Split`.",
    ),
    Term(
        "stride",
        "How many pixels a window moves from one place to the next.",
        ("stride", "strides"),
        'V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016',
    ),
    Term(
        "study",
        "A question answered from start to end with the packages below it, written as a report.",
    ),
    Term(
        "success rate",
        "Share of the correctly classified images that an attack fooled.",
        ("success rate", "success rates"),
    ),
    Term(
        "target",
        "The class that an explanation is about, or that an attack wants the network to predict.",
    ),
    Term(
        "targeted attack",
        "An attack that has succeeded only when the network predicts one class that was chosen.",
        ("targeted attack", "targeted attacks", "targeted"),
    ),
    Term(
        "transfer attack",
        "Images made to fool one network, given to another.",
        ("transfer attack", "transfer attacks", "transferred"),
    ),
    Term(
        "trust",
        "Tests of explanations that a random map fails: insertion and deletion, random weights, "
        "pointing, stability.",
    ),
    Term(
        "unit",
        "A channel of a layer, a neuron at one place of it, or a logit.",
    ),
    Term(
        "universal perturbation",
        "One change for many images.",
        ("universal perturbation", "universal perturbations"),
        'S.-M. Moosavi-Dezfooli and others, "Universal adversarial perturbations", 2017',
    ),
    Term(
        "weight decay",
        "In each step of training, all weights become a little smaller, so that none grows without "
        "need.",
        ("weight decay",),
    ),
)


def find_terms(text: str) -> list[tuple[int, int, Term]]:
    """Where words of the glossary stand in a text, from left to right, the longest of each place.

    Args:
        text: Plain text.

    Returns:
        Start, end and record of each.

    Example:
        >>> text = "Robust accuracy, not logits; a log"
        >>> [(text[a:b], term.name) for a, b, term in find_terms(text)]
        [('Robust accuracy', 'robust accuracy'), ('logits', 'logit')]
    """
    pattern, terms = _search()
    return [(hit.start(), hit.end(), terms[hit[0]]) for hit in pattern.finditer(text)]


@cache
def _search() -> tuple[re.Pattern[str], dict[str, Term]]:
    terms = {
        written: term for term in GLOSSARY for form in term.forms for written in _written(form)
    }
    longest_first = sorted(terms, key=lambda form: (-len(form), form))
    pattern = rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])"
    return re.compile(pattern), terms


def _written(form: str) -> tuple[str, str]:
    return form, form[:1].upper() + form[1:]
