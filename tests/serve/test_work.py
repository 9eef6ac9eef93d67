"""What is computed: the parts of an image, every method, uploads, black boxes, cancel."""

import io
import threading
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from convscope._registry import Spec
from convscope.attacks import ATTACKS, SHARED, pgd
from convscope.cli import served_methods
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS, grad_cam, occlusion, saliency
from convscope.progress import at_step
from convscope.visualizations import VISUALIZATION_RECIPES
from tests.serve.conftest import ORIGIN, Page, Slow, frames, packed, serving

EVERY = ["prediction", "saliency", "maps", "cam", "transforms", "attack", "occlusion"]
METHODS = {method.name: method for method in served_methods()}
QUICK = {"steps": "3", "search-steps": "1", "masks": "8", "samples": "4", "queries": "20",
         "classes": "2", "num-samples": "4"}  # fmt: skip


def quick_words(method):
    """Few steps of everything that has steps."""
    return [f"--{field.option}={QUICK[field.option]}" for field in method.fields
            if field.option in QUICK and field.default.isdigit()]  # fmt: skip


# ---- The image -------------------------------------------------------------------------------


def test_the_page_gets_graph_examples_and_methods(page):
    found = page.client.get("/api/0/page").json()
    assert [node["op"] for node in found["graph"]["nodes"]][:2] == ["input", "conv2d"]
    assert found["graph"]["classes"][0] == "<script>alert(1)</script>"
    assert len(found["examples"]) == 12
    assert {method["name"] for method in found["methods"]} == set(METHODS)
    assert found["gradients"]


def test_parts_are_what_the_package_computes(page, network, image):
    classifier, batch = network.classifier, image[None]
    found = page.look(EVERY, image, layer=1)
    assert list(found)[: len(EVERY)] == EVERY
    assert list(found)[-1] == "done"
    logits = classifier.probe().__enter__().logits(batch)
    predicted = int(logits.argmax())
    assert found["prediction"][0]["predicted"] == predicted
    close = torch.testing.assert_close
    close(found["prediction"][1]["probabilities"], logits.softmax(dim=1)[0])
    close(found["saliency"][1]["map"], saliency(classifier, batch, predicted).maps[0, 0])
    cam = grad_cam(classifier, batch, predicted)
    close(found["cam"][1]["coarse"], cam.evidence["coarse"][0, 0])
    assert found["cam"][0]["layer"] == cam.layer_label
    convolution = classifier.module[0](batch)[0]
    close(found["maps"][1]["values"], convolution)
    windows = occlusion(classifier, batch, predicted, window=3, stride=2, fill="mean")
    close(found["occlusion"][1]["map"], windows.maps[0, 0])
    close(found["occlusion"][1]["probabilities"], windows.table.probabilities[0])
    assert found["occlusion"][0]["tops"] == [0, 2, 4, 5]
    close(found["transforms"][1]["probabilities"], logits.softmax(dim=1))
    attacked = pgd(classifier, batch, torch.tensor([predicted]), epsilon=0.1, steps=20,
                   step_size=0.0125, keep="best")  # fmt: skip
    close(found["attack"][1]["image"], attacked.adversarials[0])
    assert found["attack"][0]["success"] == bool(attacked.success[0])


def test_an_attack_of_size_zero_changes_nothing(page, image):
    header, arrays = page.look(["attack"], image, epsilon=0)["attack"]
    torch.testing.assert_close(arrays["image"], image)
    assert header["success"] is False


def test_the_arithmetic_of_a_convolution_adds_up(page, network, image):
    graph = page.client.get("/api/0/page").json()["graph"]
    layer = [k for k, node in enumerate(graph["nodes"]) if node["op"] == "conv2d"][1]
    body = packed({"layer": layer, "unit": 5, "row": 0, "column": 7}, image=image)
    found = page.post("/api/0/arithmetic?panel=p", body).json()
    value = network.classifier.module[:3](image[None])[0, 5, 0, 7]
    assert found["total"] == pytest.approx(float(value.detach()), abs=1e-5)
    assert len(found["channels"]) == 4
    assert found["channels"][0]["inside"] == [False, False, False, True, True, False, True, True,
                                              False]  # fmt: skip


def test_an_image_for_a_map_drives_it_and_maps_that_there_are_not_are_refused(page, network, image):
    nodes = page.client.get("/api/0/page").json()["graph"]["nodes"]
    layer = [k for k, node in enumerate(nodes) if node["op"] == "relu"][1]

    def ask(**where):
        answer = page.post("/api/0/unit?panel=p", packed(where, image=image))
        return {header["part"]: (header, arrays) for header, arrays in frames(answer.content)}

    header, arrays = ask(layer=layer, unit=5)["unit"]
    with torch.no_grad():
        maps = network.classifier.module[:4](torch.stack([arrays["image"], image]))
    assert maps[:, 5, 4, 4].tolist() == pytest.approx([header["value"], header["here"]])
    assert header["value"] > header["here"]
    for wrong, code in (({"unit": 6}, "U05"), ({"unit": -1}, "U05"), ({"layer": 99}, "U05"),
                        ({"layer": len(nodes) - 1}, "U21")):  # fmt: skip
        failed = ask(**{"layer": layer, "unit": 5, **wrong})["failed"][0]["error"]
        assert failed["code"] == code


@pytest.mark.parametrize(
    ("values", "code"),
    [({"explained": 4}, "U08"), ({"explained": True}, "U08"), ({"target": -1}, "U08"),
     ({"epsilon": 2}, "U03"), ({"epsilon": "1"}, "U03"), ({"window": 9}, "U05"),
     ({"stride": 0}, "U05"), ({"layer": 99}, "U05"), ({"layer": 0.5}, "U05")],
)  # fmt: skip
def test_values_that_cannot_be_are_refused_with_their_code(page, image, values, code):
    found = page.look(EVERY, image, **{"layer": 1, **values})
    assert found["failed"][0]["error"]["code"] == code


@pytest.mark.parametrize(
    "wrong", [torch.rand(1, 8, 8), torch.rand(3, 9, 8), torch.full((3, 8, 8), 1.5),
              torch.full((3, 8, 8), float("nan"))],
)  # fmt: skip
def test_an_image_of_another_kind_is_refused(page, wrong):
    failed = page.look(["prediction"], wrong)["failed"][0]["error"]
    assert failed["what"]
    assert "bug" not in failed["what"]


# ---- Methods ---------------------------------------------------------------------------------


def test_every_entry_of_the_registries_is_offered_where_it_belongs():
    families = {name: method.family for name, method in METHODS.items()}
    assert families == {
        **dict.fromkeys((*EXPLANATIONS, *LAYER_VIEWS), "explain"),
        **dict.fromkeys((*ATTACKS, *SHARED), "attack"),
        **dict.fromkeys(VISUALIZATION_RECIPES, "visualize"),
    }


def test_an_attack_that_is_registered_now_is_offered_with_its_settings():
    def own(classifier, images, labels, *, targets=None, strength: float = 0.5):
        """Do nothing of note."""

    ATTACKS["own"] = own
    try:
        method = next(method for method in served_methods() if method.name == "own")
    finally:
        del ATTACKS["own"]
    assert [(field.option, field.default) for field in method.fields] == [("strength", "0.5")]
    assert method.target == "optional"
    assert isinstance(ATTACKS.spec("pgd"), Spec)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_answers_for_a_small_network(page, image, name):
    method = METHODS[name]
    target = 1 if method.target == "required" else None
    found = page.method(name, image, words=quick_words(method), target=target)
    if name == "attention-rollout":
        assert found["failed"][0]["error"]["code"] == "M15"
        return
    assert "result" in found, found
    header, arrays = found["result"]
    if header["kind"] == "map":
        assert arrays["map"].shape == (8, 8)
        assert header["signed"] == EXPLANATIONS.spec(name).signed
    elif header["kind"] == "attack":
        assert arrays["image"].shape == image.shape
        assert arrays["after"].argmax() == header["predicted"]
    else:
        assert header["picture"].startswith("iVBOR")


def test_settings_are_read_as_words_of_a_command(page, image):
    header, arrays = page.method("pgd", image, words=["--epsilon=8/255", "--steps=2"])["result"]
    assert float((arrays["image"] - image).abs().max()) <= 8 / 255 + 1e-6
    assert "steps 2" in header["facts"][-2]
    for words, code in ((["--stepz=2"], "U11"), (["--steps=two"], "U11"), (["steps"], "U11")):
        failed = page.method("pgd", image, words=words)["failed"][0]["error"]
        assert failed["code"] == code
    assert page.method("added-noise", image)["failed"][0]["error"]["code"] == "U08"
    answer = page.post("/api/0/method?panel=p", packed({"method": "pgdd"}, image=image))
    assert answer.json()["error"]["code"] == "U01"
    assert "pgd" in answer.json()["error"]["expected"] + answer.json()["error"]["fix"]


def test_the_same_seed_gives_the_same_answer_and_another_another(page, image):
    words = ["--queries=20"]
    one, same, other = (
        page.method("square", image, words=words, seed=seed)["result"][1]["image"]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_network_is_left_as_it_was(page, network, image):
    module = network.classifier.module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    hooks = [len(part._forward_hooks) for part in module.modules()]
    page.look(EVERY, image, layer=1)
    page.method("pgd", image, words=["--steps=2"])
    page.method("pgd", image, words=["--steps=-5"])
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    assert [len(part._forward_hooks) for part in module.modules()] == hooks
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


# ---- Black boxes and missing data ------------------------------------------------------------


def test_a_black_box_gets_only_what_it_can_do(page, image):
    found = page.client.get("/api/1/page").json()
    assert found["gradients"] is False
    assert len(found["graph"]["nodes"]) == 1
    can = {method["name"] for method in found["methods"] if not method["why_not"]}
    assert can == {name for name, method in METHODS.items() if method.black_box}
    assert {"occlusion", "rise", "square"} <= can
    parts = page.look(EVERY, image, number=1)
    assert set(parts) == {"prediction", "transforms", "occlusion", "done"}
    assert "result" in page.method("rise", image, number=1, words=["--masks=8"])
    assert "failed" in page.method("saliency", image, number=1)


def test_methods_that_need_many_images_say_so_without_data(network, image):
    alone = type(network)(name="tiny", classifier=network.classifier)
    served = serving([alone], served_methods())
    try:
        page = Page(served)
        found = page.client.get("/api/0/page").json()
        without = {method["name"] for method in found["methods"] if method["why_not"]}
        assert without == {"uap", "adversarial-patch", "pca", "spectrum"}
        assert "--data" in page.method("uap", image)["failed"][0]["error"]["what"]
        assert page.client.get("/api/shelf").status_code == 400
    finally:
        served.close()


# ---- Uploads ---------------------------------------------------------------------------------


def png(size=(10, 6), color=(255, 0, 0)):
    content = io.BytesIO()
    Image.new("RGB", size, color).save(content, "PNG")
    return content.getvalue()


def bomb(width, height):
    """A small PNG of many black pixels."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    data = zlib.compress(bytes((width + 1) * height), 1)
    parts = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in parts
    )


def test_an_image_is_read_as_convscope_predict_reads_it(page, network, tmp_path):
    answer = page.post("/api/0/image?name=red.png", png())
    ((header, arrays),) = frames(answer.content)
    assert header["notes"] == []
    assert arrays["image"].shape == (3, 8, 8)
    assert arrays["image"][0].min() == 1
    assert arrays["image"][1].max() == 0
    content = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(content, "PNG")
    ((header, arrays),) = frames(page.post("/api/0/image?name=a.jpg", content.getvalue()).content)
    assert any(note.startswith("I08") for note in header["notes"])
    assert any(note.startswith("I17") for note in header["notes"])


def test_pixels_are_checked_before_they_are_decoded(page, monkeypatch):
    def loaded(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", loaded)
    answer = page.post("/api/0/image?name=big.png", bomb(6_000, 5_000))
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "I03"
    assert page.post("/api/0/image", bomb(60_000, 3)).json()["error"]["code"] == "I04"


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", png()[:40], png()[:-20], b"<svg onload='alert(1)'/>", b"\x80\x04.",
     b"%PDF-1.4", b"II*\0" + b"\0" * 50, b"PK\x03\x04" + b"\0" * 50, bytes(1000)],
)  # fmt: skip
def test_what_is_no_image_is_refused_and_named(page, data):
    name = "<img src=x onerror=alert(1)>.png"
    answer = page.post("/api/0/image?name=" + name.replace(" ", "%20"), data)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"].startswith("I")
    assert answer.headers["content-type"] == "application/json"


# ---- The newest wins, and cancel -------------------------------------------------------------


@pytest.fixture
def slow(network):
    """A page with one method that does not end by itself."""
    slow = Slow()
    served = serving([network], [slow.method(), METHODS["saliency"]])
    yield Page(served), slow
    served.close()


def ask(page, image, found, panel="p"):
    """The slow method in a thread of its own; what it answers is added to `found`."""

    def run():
        body = packed({"method": "slow"}, image=image)
        answer = page.post(f"/api/0/method?panel={panel}", body)
        found.append([header["part"] for header, _ in frames(answer.content)])

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_newer_request_of_a_panel_cancels_the_older(slow, image):
    page, method = slow
    found = []
    thread = ask(page, image, found)
    assert method.began.acquire(timeout=20)
    assert "result" in page.method("saliency", image)
    thread.join(20)
    assert found == [["canceled"]]
    assert method.ended == ["Canceled"]


def test_a_waiting_request_is_canceled_too_and_other_panels_are_not(slow, image):
    page, method = slow
    found = []
    threads = [ask(page, image, found)]
    assert method.began.acquire(timeout=20)
    waiting = [ask(page, image, found, panel="q") for _ in range(1)]
    while ("q", "explain") not in page.served.slow._jobs:
        threading.Event().wait(0.01)
    answer = page.post("/api/cancel?panel=q", b'{"family": "explain"}')
    assert answer.json() == {"canceled": True}
    assert found == []
    assert page.post("/api/cancel?panel=p", b'{"family": "explain"}').json() == {"canceled": True}
    for thread in threads + waiting:
        thread.join(20)
    assert found == [["canceled"], ["canceled"]]
    assert method.ended == ["Canceled"]
    assert page.post("/api/cancel?panel=p", b'{"family": "explain"}').json() == {"canceled": False}


def test_the_playground_is_answered_while_a_long_method_runs(slow, image):
    page, method = slow
    found = []
    thread = ask(page, image, found)
    assert method.began.acquire(timeout=20)
    assert "prediction" in page.look(["prediction"], image)
    assert found == []
    page.served.cancel()
    thread.join(20)
    assert found == [["canceled"]]


def test_the_end_of_the_server_ends_the_work(slow, image):
    page, method = slow
    found = []
    thread = ask(page, image, found)
    assert method.began.acquire(timeout=20)
    page.served.close()
    thread.join(20)
    assert not any(lane._thread.is_alive() for lane in (page.served.quick, page.served.slow))
    assert method.ended == ["Canceled"]


def test_progress_is_heard(slow, image):
    from convscope.serve._jobs import Job

    job = Job(("p",), lambda job: (at_step(1, 4), job.post("half"), threading.Event().wait(0.2)))
    threading.Thread(target=job.run).start()
    heard = [frames_of(frame) for frame in job.frames(timeout=0.05)]
    assert {"part": "alive", "share": 0.25} in [
        {key: value for key, value in header.items() if key in ("part", "share")}
        for header in heard
    ]


def frames_of(data):
    import json

    return json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])


def test_a_panel_has_a_plain_name(page, image):
    body = packed({"want": ["prediction"]}, image=image)
    for panel in ("", "a b", "x" * 65, "../a"):
        answer = page.client.post(
            "/api/0/run", params={"panel": panel}, content=body, headers={"origin": ORIGIN}
        )
        assert answer.json()["error"]["code"] == "U21"
