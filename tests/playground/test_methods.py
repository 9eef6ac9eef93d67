"""Explanations, attack, transforms and sizes on the page are those of the library."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import Classifier, attacks, explanations
from convscope.ascent import gaussian_blur
from convscope.attacks import cropped, rotated
from convscope.data import open_dataset, read_image
from convscope.models import load
from convscope.playground import layers_seen, playable_network
from convscope.resizing import Resize

from .conftest import whole

MAIN = """
async function main({ graph, weights, image, target, layer, window, stride, epsilon }) {
  const { Network } = $nn;
  const { attack, enlarged, finish, gradCam, occlusion, saliency } = $methods;
  const network = new Network(graph, await $weights.decodeWeights(weights, graph.tensors));
  const x = Float32Array.from(image);
  const tape = network.forward(x);
  const [, rows, columns] = network.nodes[0].shape;
  const cam = gradCam(network, tape, target, layer);
  const hidden = finish(occlusion(network, x, tape.logits, target, window, stride));
  const away = finish(attack(network, x, target, null, epsilon));
  const toward = finish(attack(network, x, target, (target + 1) % 10, epsilon));
  return {
    logits: [...tape.logits], saliency: [...saliency(network, tape, target)],
    cam: [...enlarged(cam.coarse, cam.height, cam.width, rows, columns)],
    occlusion: [...hidden.map], probabilities: hidden.probabilities.map((p) => [...p]),
    away: [...away.image], toward: [...toward.image], fooled: [away.success, toward.success],
  };
}
"""


@pytest.fixture(scope="module")
def digit():
    """A network, the same for a page with all bits, an image and its class."""
    classifier = load("mnist-conv2")
    image = open_dataset("digits").test.to_float(torch.arange(1))
    label = int(classifier.predict(image, top=1).labels[0, 0])
    _, graph, weights = whole(classifier)
    graph["cam"] = playable_network(classifier, image).graph["cam"]
    return classifier, graph, weights, image, label


def test_explanations_and_attack_are_those_of_the_library(javascript, digit):
    classifier, graph, weights, image, label = digit
    window, stride, epsilon = 9, 4, 0.08
    found = javascript(
        ["methods", "nn", "weights"],
        MAIN,
        {
            "graph": graph, "weights": weights, "image": image.flatten().tolist(),
            "target": label, "layer": graph["cam"], "window": window, "stride": stride,
            "epsilon": epsilon,
        },
    )  # fmt: skip

    def close(ours, theirs, share=1e-4):
        ours, theirs = torch.tensor(ours).view_as(theirs), theirs.float()
        worst = float((ours - theirs).abs().max())
        assert worst <= share * float(theirs.abs().max()), worst

    close(found["saliency"], explanations.saliency(classifier, image, label).maps)
    close(found["cam"], explanations.grad_cam(classifier, image, label).maps)
    hidden = explanations.occlusion(classifier, image, label, window=window, stride=stride)
    close(found["occlusion"], hidden.maps)
    close(found["probabilities"], hidden.table.probabilities[0])
    with classifier.probe() as probe:
        for name, target in (("away", None), ("toward", torch.tensor([(label + 1) % 10]))):
            theirs = attacks.pgd(
                classifier, image, torch.tensor([label]), targets=target, epsilon=epsilon,
                steps=20, keep="best",
            )  # fmt: skip
            ours = torch.tensor(found[name]).view_as(image)
            assert float((ours - image).abs().max()) <= epsilon + 1e-6
            assert float(ours.min()) >= 0 and float(ours.max()) <= 1
            p, q = (probe.logits(x).softmax(dim=1)[0] for x in (ours, theirs.adversarials))
            assert float((p - q).abs().max()) < 0.05, name


def test_transforms_are_those_of_the_library(javascript):
    shape = [3, 11, 8]
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    main = """async function main({ image, shape }) {
      const from = Float32Array.from(image);
      const { TRANSFORMS } = $images;
      return Object.fromEntries(TRANSFORMS.map((t) => [t.name, [...t.apply(from, shape)]]));
    }"""
    found = javascript(["images"], main, {"image": images.flatten().tolist(), "shape": shape})
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    expected = {
        "flip": images.flip(3),
        "crop": cropped(images, 0.8),
        "rotate 30°": rotated(images, 30.0),
        "gray": (images * weights).sum(1, keepdim=True).expand_as(images),
        "blur": gaussian_blur(images, 1.0),
        "threshold": (images > 0.5).float(),
    }
    assert set(found) == set(expected)
    for name, image in expected.items():
        ours = torch.tensor(found[name], dtype=torch.float32).view_as(image)
        assert torch.allclose(ours, image, atol=1e-5), name


RULES = [
    None,
    Resize(size=(12, 9)),
    Resize(shortest=14, crop=(12, 9)),
    Resize(shortest=15, crop=(12, 9), center="round", resample="bicubic"),
    Resize(crop=(12, 9)),
    Resize(size=(12, 9), resample="lanczos"),
    Resize(size=(12, 9), resample="hamming"),
    Resize(size=(12, 9), resample="box"),
    Resize(size=(12, 9), resample="nearest"),
]


@pytest.mark.parametrize("size", [(40, 31), (31, 40), (12, 9), (7, 5)])
def test_images_come_to_size_as_the_network_s_files_do(javascript, size, tmp_path):
    generator = np.random.default_rng(0)
    smooth = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = smooth.resize(size, Image.Resampling.BICUBIC)
    file = tmp_path / "image.png"
    image.save(file)
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
    inputs, expected = [], []
    for rule in RULES:
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(324, 2))
        classifier = replace(Classifier.wrap(net, input_shape=(3, 12, 9)), resize=rule)
        inputs.append(playable_network(classifier, torch.rand(1, 3, 12, 9)).graph["input"])
        expected.append(read_image(file, channels=3, size=(12, 9), resize=rule))
    main = """async function main({ image, shape, inputs }) {
      return inputs.map((input) => [...$images.prepare(Float32Array.from(image), shape, input)]);
    }"""
    payload = {"image": pixels.flatten().tolist(), "shape": list(pixels.shape), "inputs": inputs}
    for rule, ours, theirs in zip(
        RULES, javascript(["images"], main, payload), expected, strict=True
    ):
        worst = float((torch.tensor(ours).view_as(theirs) - theirs).abs().max())
        assert worst <= 2.5 / 255, (str(rule), worst * 255)


def centered(javascript, image):
    main = """async function main({ image, shape }) {
      const input = { shape: [1, 28, 28], rule: { kind: "center", box: 20 } };
      return [...$images.prepare(Float32Array.from(image), shape, input)];
    }"""
    shape = [3, *image.shape]
    found = javascript(["images"], main, {"image": [*image.flatten().tolist()] * 3, "shape": shape})
    return torch.tensor(found).view(28, 28)


def test_a_drawing_is_centered_as_digits_of_mnist_are(javascript):
    drawing = torch.zeros(100, 120)
    drawing[5:45, 70:80] = 1.0  # a stroke of 40 x 10, in a corner
    found = centered(javascript, drawing)
    rows, columns = (found > 0.5).nonzero().unbind(1)
    assert int(rows.max() - rows.min()) + 1 == 20
    assert int(columns.max() - columns.min()) + 1 == 5
    places = torch.arange(28) + 0.5
    assert abs(float((found.sum(1) * places).sum() / found.sum()) - 14) <= 0.5
    assert abs(float((found.sum(0) * places).sum() / found.sum()) - 14) <= 0.5
    on_paper = centered(javascript, 1 - drawing)
    assert torch.allclose(on_paper, found, atol=1 / 255)
    assert float(centered(javascript, torch.zeros(30, 30)).sum()) == 0


def test_receptive_fields_hold_exactly_what_a_place_depends_on(javascript):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, stride=2, padding=1),
        torch.nn.MaxPool2d(2, stride=1),
        torch.nn.Conv2d(2, 2, 3, dilation=2),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(2),
    )
    net(torch.zeros(1, 1, 17, 15))
    classifier = Classifier.wrap(net, input_shape=(1, 17, 15))
    graph = playable_network(classifier, torch.rand(2, 1, 17, 15)).graph
    index = next(i for i, node in enumerate(graph["nodes"]) if node["name"] == "2")
    places = [(0, 0), (1, 2), (3, 1)]
    main = """async function main({ nodes, index, places }) {
      return places.map(([row, column]) => $geometry.receptiveField(nodes, index, row, column));
    }"""
    found = javascript(
        ["geometry"], main, {"nodes": graph["nodes"], "index": index, "places": places}
    )
    soft = torch.nn.Sequential(net[0], torch.nn.AvgPool2d(2, stride=1), net[2])
    for (row, column), box in zip(places, found, strict=True):
        x = torch.rand(1, 1, 17, 15, requires_grad=True)
        (gradient,) = torch.autograd.grad(soft(x)[0, :, row, column].sum(), x)
        rows, columns = gradient[0, 0].nonzero().unbind(1)
        assert (box["top"], box["bottom"]) == (int(rows.min()), int(rows.max()) + 1)
        assert (box["left"], box["right"]) == (int(columns.min()), int(columns.max()) + 1)


def test_a_state_survives_the_address(javascript):
    main = """async function main({ image, state }) {
      const { fromHash, packPixels, toHash, unpackPixels } = $state;
      const hash = toHash({ ...state, image: packPixels(Float32Array.from(image)) });
      const back = fromHash(hash);
      return { hash, back, image: [...unpackPixels(back.image, image.length)],
        damaged: ["", "!!", "AAA", back.image + "AAAA"].map((t) => unpackPixels(t, image.length)),
        strange: [fromHash("#performance"), fromHash("#playground:%%%=1&e=%E0%A4%A&=3&t")] };
    }"""
    image = (torch.rand(784) * (torch.rand(784) > 0.8)).mul(255).round() / 255
    state = {"epsilon": 0.12, "layer": "a&b=c#,1", "place": [3, 4], "target": None, "unit": 0}
    found = javascript(["state"], main, {"image": image.tolist(), "state": state})
    assert torch.allclose(torch.tensor(found["image"]), image, atol=1e-6)
    assert found["back"]["layer"] == "a&b=c#,1" and found["back"]["place"] == "3,4"
    assert found["damaged"] == [None] * 4
    assert found["strange"] == [None, {}]
    assert found["hash"].isascii()


ASCEND = """
async function main({ graph, weights, image, layer, units }) {
  const network = new $nn.Network(graph, await $weights.decodeWeights(weights, graph.tensors));
  return units.map((unit) => {
    const made = $methods.finish($methods.maximize(network, layer, unit));
    return { ...made, image: made.image && [...made.image] };
  });
}
"""


def test_an_image_for_a_map_drives_its_middle_up_and_within_the_network_too(javascript, digit):
    classifier, graph, weights, image, _ = digit
    nodes = [node["name"] for node in graph["nodes"]]
    layer = nodes.index("pool2")
    made = javascript(
        ["methods", "nn", "weights"],
        ASCEND,
        {"graph": graph, "weights": weights, "image": [], "layer": layer, "units": [0, 3, 17]},
    )
    maps = explanations.feature_maps(classifier, image, ["pool2"]).layers[0].maps
    row, column = maps.shape[2] // 2, maps.shape[3] // 2
    for unit, found in zip([0, 3, 17], made, strict=True):
        assert found["value"] > 3 * max(found["start"], 0.05)
        pixels = torch.tensor(found["image"]).view_as(image)
        assert pixels.min() >= 0 and pixels.max() <= 1
        theirs = explanations.feature_maps(classifier, pixels, ["pool2"]).layers[0].maps
        assert float(theirs[0, unit, row, column]) == pytest.approx(found["value"], rel=1e-4)
        # Python makes the same image, for a page that asks a server.
        pixels_here, value, steps = layers_seen(classifier, image).unit_image(layer, unit)
        assert value == pytest.approx(found["value"], rel=0.02)
        assert float((pixels_here - pixels[0]).abs().mean()) < 0.02 and steps == found["steps"]


def test_a_dead_map_has_no_image(javascript):
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(),
                              torch.nn.Linear(72, 2))  # fmt: skip
    torch.nn.init.constant_(net[0].bias, -100.0)
    classifier = Classifier.wrap(net, input_shape=(1, 8, 8))
    _, graph, weights = whole(classifier)
    names = [node["op"] for node in graph["nodes"]]
    made = javascript(
        ["methods", "nn", "weights"],
        ASCEND,
        {"graph": graph, "weights": weights, "layer": names.index("relu"), "units": [0, 1]},
    )
    assert [found["image"] for found in made] == [None, None]
    seen = layers_seen(classifier, torch.rand(1, 1, 8, 8))
    assert seen.unit_image(names.index("relu"), 0)[:2] == (None, 0.0)
