"""An assignment on convolutional networks by hand, trained, and looked into, made again.

S. Kim, "Assignment 2 (CNN part)", Data Science Laboratory, Seoul National University, 2018: slides
that ask for a convolutional network by hand, for a trained one, and for pictures of what it
learned. The facts are six demands (rows 004.1 to 004.6) in the order of the slides; the one about
pictures is three questions here.
"""

from convscope.studies._snu_assignment_2 import _snippets as snippets
from convscope.studies._snu_assignment_2._adversarial import adversarial_examples
from convscope.studies._snu_assignment_2._by_hand import layers_by_hand
from convscope.studies._snu_assignment_2._convolution import convolution_and_padding
from convscope.studies._snu_assignment_2._inception import inception
from convscope.studies._snu_assignment_2._libraries import notebooks
from convscope.studies._snu_assignment_2._training import cifar_10, own_network
from convscope.studies._snu_assignment_2._visualization import (
    class_representatives,
    saliency_maps,
)
from convscope.studies._study import QuestionSpec, StudyContent

CONTENT = StudyContent(
    setup=snippets.setup,
    network=own_network,
    questions=(
        QuestionSpec(
            name="by-hand",
            number="1",
            title="Convolution and max-pool, forward and backward, by hand",
            answer=layers_by_hand,
            rows=("004.1",),
            lead="Layers in NumPy, without a library for networks. Their gradients are compared "
            "with central differences, with torch, and with definitions in plain loops.",
            minutes=(0.1, 0.24),
            snippet=snippets.layers_by_hand,
            left_out="the other layers, torch and plain loops",
        ),
        QuestionSpec(
            name="convolution",
            number="2",
            title="Convolution, cross-correlation, stride, zero padding",
            answer=convolution_and_padding,
            rows=("004.2",),
            lead="Whether the kernel is turned, how far it moves, and how many zeros lie around "
            "the image.",
            minutes=(0.1, 0.24),
            snippet=snippets.convolution_and_padding,
        ),
        QuestionSpec(
            name="cifar-10",
            number="3",
            title="CIFAR-10: training, evaluation, hyperparameters",
            answer=cifar_10,
            rows=("004.3",),
            lead="40,000 images to learn from, 10,000 to choose settings by, and 10,000 that are "
            "looked at once.",
            minutes=(0.6, 53),
            snippet=snippets.cifar_10,
        ),
        QuestionSpec(
            name="inception",
            number="4",
            title="Inception module with 1 x 1 reductions",
            answer=inception,
            rows=("004.4",),
            lead="1 x 1, 3 x 3 and 5 x 5 kernels and a max-pool side by side; a 1 x 1 convolution "
            "first brings the channels down that the large kernels see.",
            minutes=(0.05, 0.24),
            snippet=snippets.inception,
        ),
        QuestionSpec(
            name="saliency",
            number="5.1",
            title="Saliency maps",
            answer=saliency_maps,
            rows=("004.5",),
            lead="The absolute derivative of the score of an image's class by each pixel, the "
            "largest over the channels.",
            minutes=(0.05, 0.49),
            snippet=snippets.saliency_maps,
        ),
        QuestionSpec(
            name="class-images",
            number="5.2",
            title="Class representative images",
            answer=class_representatives,
            rows=("004.5",),
            lead="From noise, images that maximize the score of a class minus λ ||I||², and are "
            "blurred by a Gaussian now and then.",
            minutes=(0.4, 3.6),
            snippet=snippets.class_representatives,
            left_out="the images of other recipes",
        ),
        QuestionSpec(
            name="adversarial-examples",
            number="5.3",
            title="Adversarial examples",
            answer=adversarial_examples,
            rows=("004.5",),
            lead="From an image, ascent of the score of another class by L2-normalized gradients, "
            "until that class is predicted.",
            minutes=(0.1, 6.1),
            snippet=snippets.adversarial_examples,
        ),
        QuestionSpec(
            name="notebooks",
            number="6",
            title="Notebooks in the browser, networks of TensorFlow",
            answer=notebooks,
            rows=("004.6",),
            lead="This study as a notebook, and networks that other libraries made.",
            minutes=(0.2, 0.73),
            snippet=snippets.notebooks,
            left_out="Keras and ONNX",
        ),
    ),
)
