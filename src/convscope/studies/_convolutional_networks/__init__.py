"""P. Shedligeri, "Programming Assignment 2: Convolutional Neural Networks", IIT Madras, 2017.

The assignment asks for nine things (rows 000.1 to 000.9): three networks on MNIST, adversarial
noises for the best of them, and images that maximize its logits and neurons. A question here is one
of them, in its order.
"""

from convscope.studies._convolutional_networks import _snippets as snippets
from convscope.studies._convolutional_networks._data import data
from convscope.studies._convolutional_networks._maximizing import logits, neurons
from convscope.studies._convolutional_networks._noises import adversarial_noises, nine_images
from convscope.studies._convolutional_networks._training import (
    best_network,
    dense_layer,
    one_convolution,
    two_convolutions,
)
from convscope.studies._convolutional_networks._weight_decay import weight_decay
from convscope.studies._study import QuestionSpec, StudyContent

ASKED = (
    "Training error, validation error and prediction accuracy over the training, the accuracy on "
    "all test images, and random test images with the predicted (P) and the true (T) class."
)

CONTENT = StudyContent(
    setup=snippets.setup,
    network=best_network,
    questions=(
        QuestionSpec(
            name="one-convolution",
            number="1",
            title="One convolution and a fully connected layer",
            answer=one_convolution,
            rows=("000.1",),
            lead="32 filters of 3 x 3, stride 1, padding 1, ReLU, a 2 x 2 max-pool, ten outputs. "
            + ASKED,
            minutes=(0.2, 4.9),
            snippet=snippets.one_convolution,
        ),
        QuestionSpec(
            name="two-convolutions",
            number="2",
            title="Two convolutions and a fully connected layer",
            answer=two_convolutions,
            rows=("000.2",),
            lead="The same with a second convolution of 32 3 x 3 filters and a second max-pool. "
            + ASKED,
            minutes=(0.25, 4.9),
            snippet=snippets.two_convolutions,
        ),
        QuestionSpec(
            name="dense-layer",
            number="3",
            title="Two convolutions and two fully connected layers",
            answer=dense_layer,
            rows=("000.3",),
            lead="The same with 500 hidden units before the ten outputs. "
            + ASKED
            + " Then the three networks beside each other.",
            minutes=(0.35, 4.9),
            snippet=snippets.dense_layer,
        ),
        QuestionSpec(
            name="data",
            number="4",
            title="MNIST, shuffled and split",
            answer=data,
            rows=("000.4",),
            lead="Images from MNIST's binary files or from scikit-learn, shuffled, in three parts.",
            minutes=(0.03, 0.33),
            snippet=snippets.data,
        ),
        QuestionSpec(
            name="l2",
            number="5",
            title="L2 regularization of the weights only",
            answer=weight_decay,
            rows=("000.5",),
            lead="Weights are pulled to zero, biases are not: shown tensor by tensor, and what it "
            "does at three strengths.",
            minutes=(0.3, 4.9),
            snippet=snippets.weight_decay,
            left_out="the update that is taken apart tensor by tensor",
        ),
        QuestionSpec(
            name="noises",
            number="6",
            title="One adversarial noise per class",
            answer=adversarial_noises,
            rows=("000.6",),
            lead="The best network is frozen. For every class a noise that starts at zero is made "
            "so that any image plus this noise is predicted as the class.",
            minutes=(0.3, 2),
            snippet=snippets.adversarial_noises,
        ),
        QuestionSpec(
            name="nine-images",
            number="7",
            title="Nine test images with the ten noises",
            answer=nine_images,
            rows=("000.7",),
            lead="The same nine images with every noise: true and predicted class.",
            minutes=(0.06, 0.33),
            snippet=snippets.nine_images,
        ),
        QuestionSpec(
            name="logits",
            number="8",
            title="Images that maximize an output",
            answer=logits,
            rows=("000.8",),
            lead="From noise around mid-gray, 200 steps along blurred gradients: for every class "
            "the image with the largest output before the softmax.",
            minutes=(0.15, 0.99),
            snippet=snippets.logits,
            left_out="the other readings of sigma",
        ),
        QuestionSpec(
            name="neurons",
            number="9",
            title="Images that maximize neurons of the second max-pool",
            answer=neurons,
            rows=("000.9",),
            lead="The same for the central neuron of ten of the 32 maps.",
            minutes=(0.06, 0.66),
            snippet=snippets.neurons,
        ),
    ),
)
