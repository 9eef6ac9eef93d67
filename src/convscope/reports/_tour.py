"""The teacher's tour of a page with a playground, one record for each step."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class TourStep:
    """A thing to look at, and something to try there.

    Attributes:
        title: Of the step.
        target: CSS selector of the thing. On a page that does not have it, the step is left out.
        look: What to look at, in two or three sentences.
        task: Something small to do.
        digits: The task where the classes are the ten digits, if it is another one.
    """

    title: str
    target: str
    look: str
    task: str
    digits: str = ""


TOUR: tuple[TourStep, ...] = (
    TourStep(
        title="The headline numbers",
        target="header .tiles",
        look="These numbers were measured on images that the network was not trained on. Below "
        "stands how sure one can be of them: the true value is most likely in that range.",
        task="Which number surprises you? Say it with its range.",
    ),
    TourStep(
        title="Where it is wrong",
        target="#performance",
        look="A row of the table is a label, a column is what the network predicted. Right answers "
        "are on the diagonal; every other number counts one kind of mistake.",
        task="Find the two classes that are confused most often. Look at the images of these "
        "mistakes: would you have known better?",
    ),
    TourStep(
        title="Give it an image",
        target="#pg-part-image",
        look="The network runs in this page. Draw, drop a picture, or pick a test image; the bars "
        "are the probabilities of the classes, and they follow every stroke.",
        task="Pick an image, then draw over it until another class is predicted.",
        digits="Press Clear and draw a 7. Then turn it into a 1 with as little ink as you can.",
    ),
    TourStep(
        title="What the network saw",
        target="#pg-saw",
        look="This picture is all that the network gets of your image. It was brought to the size "
        "of the images that the network was trained on; digits are moved to the middle, too.",
        task="Drop a large photo on the pad. What of it is left?",
        digits="Draw a tiny 3 in a corner of the pad. Where does it end up?",
    ),
    TourStep(
        title="Two answers to why",
        target="#pg-part-why",
        look="Saliency shows where a tiny change of a pixel would change the score most, Grad-CAM "
        "where a late layer speaks for the class. These are different questions, so the pictures "
        "differ. Neither shows what the network recognizes.",
        task="Choose another class under Explain. Which places speak for that one?",
    ),
    TourStep(
        title="Hide a part of it",
        target="#pg-occlusion",
        look="A window hides one place after another. Orange is where hiding costs score; point at "
        "a place to read what is predicted while the window is there.",
        task="Find the place that costs most. Then make the window larger until the prediction "
        "changes.",
    ),
    TourStep(
        title="Fool it",
        target="#pg-part-fool",
        look="The attack may change every pixel by at most epsilon. Compare the images before and "
        "after: often one sees hardly a difference, and the prediction is another one. What was "
        "added is at the right, ten times as strong.",
        task="Choose a class under Toward, and raise epsilon until the network predicts it.",
        digits="Draw a 7 and choose 1 under Toward. Raise epsilon until it becomes a 1.",
    ),
    TourStep(
        title="Change it without bad intent",
        target="#pg-part-change",
        look="Nobody computed these changes to fool the network; they happen to pictures. A green "
        "chip is a prediction that stayed, an orange one a prediction that changed.",
        task="Which change breaks the prediction? Is the image still of the same class for you?",
    ),
    TourStep(
        title="Inside: feature maps",
        target="#pg-part-maps",
        look="Each small picture is the output of one filter for your image, bright where the "
        "filter responds. Point at a place of the large one: its receptive field is the part of "
        "the image that this value can depend on.",
        task="Find a map that responds to one side of the strokes or edges only. Then choose a "
        "late layer: how many rows and columns does a place see there?",
    ),
    TourStep(
        title="One convolution by hand",
        target="#pg-part-sum",
        look="What lies under the filter is multiplied with its weights, and all products are "
        "added. A network does nothing more mysterious than this, some million times.",
        task="Go through the products. Which one adds most to the sum?",
    ),
    TourStep(
        title="From one image to many",
        target="#robustness",
        look="You have fooled the network on one image; here that is counted over many. The curve "
        "says which share is still classified correctly when every pixel may change that much.",
        task="At which epsilon is half of the accuracy gone?",
    ),
    TourStep(
        title="What this page does not show",
        target="#limits",
        look="A measurement answers the question that was asked, on the images that were used. The "
        "sentences here say what must not be concluded.",
        task="Write down one claim about this network that the page does not support.",
    ),
)


def tour_json() -> str:
    """The steps as a page holds them: JSON in which nothing is read as HTML."""
    text = json.dumps([asdict(step) for step in TOUR], separators=(",", ":"))
    return text.translate({ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"})
