"""A report on a network, its filters, its maps and what fools it, made again.

S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September 2019: a
student's report on a network of two convolutions and a dense layer of 500 on MNIST. The facts are
nine results (rows 002.1 to 002.9), and a question here is one of them, in the report's order.
"""

from convscope.studies._assignment_2_report import _snippets as snippets
from convscope.studies._assignment_2_report._attacks import (
    adding_noise,
    non_targeted,
    targeted,
)
from convscope.studies._assignment_2_report._looking import (
    activation_maps,
    filters_of_both_layers,
    occlusion_of_two_digits,
)
from convscope.studies._assignment_2_report._training import (
    batch_normalization,
    own_network,
    parameters,
    training,
)
from convscope.studies._study import QuestionSpec, StudyContent

CONTENT = StudyContent(
    setup=snippets.setup,
    network=own_network,
    questions=(
        QuestionSpec(
            name="training",
            number="1",
            title="MNIST classification",
            answer=training,
            rows=("002.1",),
            lead="Two convolutions of 32 3 x 3 filters, each with ReLU and a 2 x 2 max-pool, then "
            "500 hidden units: loss over the iterations, accuracy, and random test images with the "
            "predicted (P) and the true (T) class.",
            minutes=(0.3, 4.5),
            snippet=snippets.training,
        ),
        QuestionSpec(
            name="parameters",
            number="2",
            title="Number of parameters and neurons",
            answer=parameters,
            rows=("002.2",),
            lead="Layer by layer, in the convolutions and in the dense layers.",
            minutes=(0.02, 0.18),
            snippet=snippets.parameters,
        ),
        QuestionSpec(
            name="batch-normalization",
            number="3",
            title="Batch normalization",
            answer=batch_normalization,
            rows=("002.3",),
            lead="The same network with batch normalization between each convolution and its ReLU, "
            "trained the same way.",
            minutes=(0.5, 5.3),
            snippet=snippets.batch_normalization,
        ),
        QuestionSpec(
            name="filters",
            number="4",
            title="Filters of conv1 and conv2",
            answer=filters_of_both_layers,
            rows=("002.4",),
            lead="The weights of the convolutions as small pictures.",
            minutes=(0.02, 0.18),
            snippet=snippets.filters_of_both_layers,
        ),
        QuestionSpec(
            name="activation-maps",
            number="5",
            title="Activation maps of conv1 and conv2",
            answer=activation_maps,
            rows=("002.5",),
            lead="What the filters answer to one image of every digit.",
            minutes=(0.02, 0.18),
            snippet=snippets.activation_maps,
        ),
        QuestionSpec(
            name="occlusion",
            number="6",
            title="Occlusion",
            answer=occlusion_of_two_digits,
            rows=("002.6",),
            lead="A gray window of 14 x 14 pixels moves over a 7 and a 9 in steps of 7 pixels, "
            "from left to right, then from top to bottom: nine images each.",
            minutes=(0.03, 0.18),
            snippet=snippets.occlusion_of_two_digits,
        ),
        QuestionSpec(
            name="non-targeted",
            number="7",
            title="Non-targeted images",
            answer=non_targeted,
            rows=("002.7",),
            lead="From noise, an image for every class that the network predicts as this class: "
            "what it looks like does not matter.",
            minutes=(0.1, 0.53),
            snippet=snippets.non_targeted,
        ),
        QuestionSpec(
            name="targeted",
            number="8",
            title="Targeted images",
            answer=targeted,
            rows=("002.8",),
            lead="Images that look like a 7 (and like a 2) and are predicted as each of the ten "
            "classes: the log-probability of the class rises, minus beta times the mean squared "
            "difference to the digit.",
            minutes=(0.4, 1.2),
            snippet=snippets.targeted,
        ),
        QuestionSpec(
            name="adding-noise",
            number="9",
            title="Adding noise",
            answer=adding_noise,
            rows=("002.9",),
            lead="A noise that makes one image be predicted as a 7 (and as a 4); then the same "
            "noise on other images, which it was not made for.",
            minutes=(0.1, 0.71),
            snippet=snippets.adding_noise,
        ),
    ),
)
