"""A report on a network with and without batch normalization, made again.

G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural Networks", IIT
Madras, undated: a student's report on a network of two convolutions and a dense layer of 500 on
MNIST. The facts are ten results (rows 001.1 to 001.10), and a question here is one of them, in the
report's order.
"""

from convscope.studies._mnist_report import _snippets as snippets
from convscope.studies._mnist_report._attacks import (
    calculated_noise,
    defenses,
    non_targeted,
    targeted,
)
from convscope.studies._mnist_report._looking import (
    feature_maps_of_both_layers,
    image_optimization,
    inner_maps,
    occlusion_of_all_digits,
)
from convscope.studies._mnist_report._training import (
    batch_normalization,
    own_network,
    tables,
)
from convscope.studies._study import QuestionSpec, StudyContent

CONTENT = StudyContent(
    setup=snippets.setup,
    network=own_network,
    questions=(
        QuestionSpec(
            name="batch-normalization",
            number="1",
            title="With and without batch normalization",
            answer=batch_normalization,
            rows=("001.1",),
            lead="Two convolutions of 32 3 x 3 filters, each with ReLU and a 2 x 2 max-pool, then "
            "500 hidden units; batches of 64, Adam at 5e-4, ten epochs.",
            minutes=(0.6, 8.6),
            snippet=snippets.batch_normalization,
        ),
        QuestionSpec(
            name="tables",
            number="2",
            title="Dimensions, neurons and parameters",
            answer=tables,
            rows=("001.2",),
            lead="Layer by layer: what goes in and comes out, how many neurons, how many "
            "parameters.",
            minutes=(0.02, 0.25),
            snippet=snippets.tables,
        ),
        QuestionSpec(
            name="feature-maps",
            number="3",
            title="Feature maps of conv1 and conv2",
            answer=feature_maps_of_both_layers,
            rows=("001.3",),
            lead="What the filters answer to one image.",
            minutes=(0.03, 0.25),
            snippet=snippets.feature_maps_of_both_layers,
        ),
        QuestionSpec(
            name="occlusion",
            number="4",
            title="Occlusion",
            answer=occlusion_of_all_digits,
            rows=("001.4",),
            lead="A gray window of 12 x 12 pixels moves over an image of every digit in steps of 4 "
            "pixels. A map has one square per position: the probability of the true class with the "
            "window there.",
            minutes=(0.05, 0.25),
            snippet=snippets.occlusion_of_all_digits,
        ),
        QuestionSpec(
            name="non-targeted",
            number="5",
            title="Non-targeted images",
            answer=non_targeted,
            rows=("001.5",),
            lead="From N(0.5, 0.05), 200 iterations: images that the network predicts as a class "
            "with high confidence, whatever they look like.",
            minutes=(0.1, 0.74),
            snippet=snippets.non_targeted,
        ),
        QuestionSpec(
            name="targeted",
            number="6",
            title="Targeted images",
            answer=targeted,
            rows=("001.6",),
            lead="A 2 that is predicted as 3, 6 and 8: the log-probability of the class minus b "
            "times the mean squared difference to the 2, with b = 1. The report takes 400 steps.",
            minutes=(0.15, 0.99),
            snippet=snippets.targeted,
        ),
        QuestionSpec(
            name="calculated-noise",
            number="7",
            title="Calculated noise added to other images",
            answer=calculated_noise,
            rows=("001.7",),
            lead="The noise that makes a 0 be predicted as a 4 (and as a 5), added to images that "
            "it was not made for: true and predicted class.",
            minutes=(0.1, 0.74),
            snippet=snippets.calculated_noise,
        ),
        QuestionSpec(
            name="image-optimization",
            number="8",
            title="Image optimization with L2",
            answer=image_optimization,
            rows=("001.8",),
            lead="From a black image, 200 iterations of Adam at 0.05 raise the logit of a class "
            "minus a penalty on the squared pixels.",
            minutes=(0.1, 0.49),
            snippet=snippets.image_optimization,
        ),
        QuestionSpec(
            name="inner-maps",
            number="9",
            title="What maximizing inner maps does to the classes",
            answer=inner_maps,
            rows=("001.9",),
            lead="While the mean of a map inside the network is maximized, the logits of all "
            "classes move: one chart per map, one line per class.",
            minutes=(0.15, 0.74),
            snippet=snippets.inner_maps,
        ),
        QuestionSpec(
            name="defenses",
            number="10",
            title="Defenses",
            answer=defenses,
            rows=("001.10",),
            lead="Three ideas of the report, tried: blur the image, make it black and white, train "
            "against adversarial images.",
            minutes=(0.4, 4.9),
            snippet=snippets.defenses,
            left_out="adversarial training",
        ),
    ),
)
