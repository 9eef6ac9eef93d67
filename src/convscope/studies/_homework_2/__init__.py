"""A homework of five problems, from peppers to an adder, made again.

"CS 5787 Deep Learning, Homework 2", Cornell Tech, Spring 2019: an ImageNet network on peppers,
transfer learning on pets, a small network on CIFAR-10, four photos that are predicted as something
else, and a recurrent network that adds (rows 003.1 to 003.10). A question here is a part of a
problem, in the homework's order.
"""

from convscope.studies._homework_2 import _snippets as snippets
from convscope.studies._homework_2._adder import binary_adder
from convscope.studies._homework_2._deeper_network import deeper_network
from convscope.studies._homework_2._feature_maps import feature_maps_of_three_layers
from convscope.studies._homework_2._fooling import fooling
from convscope.studies._homework_2._materials import network_files, pets, photo_files
from convscope.studies._homework_2._paper import paper_with_code
from convscope.studies._homework_2._peppers import peppers
from convscope.studies._homework_2._small_networks import (
    network_11x11,
    own_network,
    with_batch_normalization,
)
from convscope.studies._homework_2._transfer import transfer_to_pets
from convscope.studies._homework_2._transformations import transformed
from convscope.studies._study import QuestionSpec, StudyContent

CONTENT = StudyContent(
    setup=snippets.setup,
    network=own_network,
    materials=(network_files, photo_files, pets),
    questions=(
        QuestionSpec(
            name="peppers",
            number="Problem 1 Part 1",
            title="A pre-trained network on peppers",
            answer=peppers,
            rows=("003.1",),
            lead="A network trained on ImageNet is shown a photo of peppers: its three most "
            "probable classes with their probabilities.",
            minutes=(0.05, 0.23),
            snippet=snippets.peppers,
        ),
        QuestionSpec(
            name="feature-maps",
            number="Problem 1 Part 2",
            title="Feature maps",
            answer=feature_maps_of_three_layers,
            rows=("003.2",),
            lead="Five maps each of an early, a middle and a late layer for the same photo, "
            "normalized, and what differs between them.",
            minutes=(0.05, 0.23),
            snippet=snippets.feature_maps_of_three_layers,
        ),
        QuestionSpec(
            name="transfer",
            number="Problem 2",
            title="Transfer learning on Oxford pets",
            answer=transfer_to_pets,
            rows=("003.3",),
            lead="Images become what enters the network's last layer, after its ReLU, scaled to "
            "length one. A linear classifier learns the breeds from that; accuracy is the mean "
            "over the classes.",
            minutes=(0.2, 1.2),
            snippet=snippets.transfer_to_pets,
        ),
        QuestionSpec(
            name="network-11x11",
            number="Problem 3 Part 1",
            title="A small network on CIFAR-10",
            answer=network_11x11,
            rows=("003.4",),
            lead="64 filters of 11 x 11, a 2 x 2 max-pool with stride 2, 128 of 3 x 3, 128 of "
            "3 x 3, average pooling and a dense layer, trained on all training images.",
            minutes=(0.25, 23),
            snippet=snippets.network_11x11,
        ),
        QuestionSpec(
            name="batch-normalization",
            number="Problem 3 Part 2",
            title="The same with batch normalization",
            answer=with_batch_normalization,
            rows=("003.5",),
            lead="Batch normalization between each convolution and its ReLU; images, order and "
            "settings are the same.",
            minutes=(0.3, 25),
            snippet=snippets.with_batch_normalization,
        ),
        QuestionSpec(
            name="deeper-network",
            number="Problem 3 Part 3",
            title="A deeper and better network",
            answer=deeper_network,
            rows=("003.6",),
            lead="More layers, smaller filters, and whatever else helps.",
            minutes=(0.25, 16),
            snippet=snippets.deeper_network,
        ),
        QuestionSpec(
            name="fooling",
            number="Problem 4 Part 1",
            title="Fooling the network with four photos",
            answer=fooling,
            rows=("003.7",),
            lead="Noise is added to a photo so that the network sees something else: no pixel may "
            "change by more than epsilon. The peppers become a space shuttle.",
            minutes=(0.2, 1.4),
            snippet=snippets.fooling,
            left_out="the other updates of the table",
        ),
        QuestionSpec(
            name="transformations",
            number="Problem 4 Part 2",
            title="Do the fooled photos survive a transformation?",
            answer=transformed,
            rows=("003.8",),
            lead="The four fooled images are mirrored, cropped to 80 %, rotated by 30 degrees and "
            "turned gray: the new classes and probabilities.",
            minutes=(0.2, 2.3),
            snippet=snippets.transformed,
        ),
        QuestionSpec(
            name="adder",
            number="Problem 5",
            title="A recurrent network that adds",
            answer=binary_adder,
            rows=("003.9",),
            lead="Three hidden units with a hard threshold add two binary numbers, one place per "
            "step. All weights, thresholds and the first hidden state are found by hand.",
            minutes=(0.02, 0.12),
            snippet=snippets.binary_adder,
        ),
        QuestionSpec(
            name="paper",
            number="",
            title="A PDF with the code in it",
            answer=paper_with_code,
            rows=("003.10",),
            lead="What is handed in: answers, figures and the code that made them, in one file.",
            minutes=(0.01, 0.023),
            snippet=snippets.paper_with_code,
        ),
    ),
)
