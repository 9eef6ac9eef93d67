"""A network is left exactly as found: what methods run is a copy, whatever happens meanwhile."""

import functools
import math
import os
import random
import signal
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from convscope._network.copier import Copier
from convscope._network.frozen_copy import frozen_copy
from convscope._random import RandomStates
from convscope.attacks import pgd
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.explanations import saliency
from convscope.probe import fast_paths
from tests.contracts.traces import snapshot

IMAGES = torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(5))
first_logit = lambda x, logits, rows: logits[:, 0]


def small():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )


def classifier_of(module):
    return Classifier(module=module, class_names=tuple("abc"), input_shape=(1, 6, 6))


def plain(module, images=IMAGES):
    """Logits of the network itself in evaluation mode."""
    return module.eval()(images).detach()


def probed(classifier, images=IMAGES):
    with classifier.probe() as probe:
        return probe.logits(images)


# ---------------------------------------------------------------------- what a copy is


def test_a_copy_shares_no_memory_and_gives_the_same_logits():
    net = small()
    copy = frozen_copy(net)
    mine = {t.data_ptr() for t in (*copy.parameters(), *copy.buffers())}
    theirs = {t.data_ptr() for t in (*net.parameters(), *net.buffers())}
    assert not mine & theirs
    assert torch.equal(copy(IMAGES), plain(net))
    assert net.eval() is net and not any(p.requires_grad for p in copy.parameters())


def test_views_of_one_memory_stay_views_of_one_memory():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("whole", torch.arange(6.0))
            self.part = self.whole[2:4]

    copy = frozen_copy(Views())
    copy.whole.fill_(9)
    assert copy.part.tolist() == [9, 9]


def test_two_tensors_of_one_memory_stay_so():
    net = small()
    net.register_buffer("again", net[0].weight.detach())
    copy = frozen_copy(net)
    copy.again.fill_(9)
    assert (copy[0].weight == 9).all() and not (net[0].weight == 9).any()


def test_a_tuple_of_parts_is_a_tuple_of_the_copys_parts():
    net = small()
    net.parts, net.sizes = (net[0], torch.zeros(2)), (1, (2, 3))
    copy = frozen_copy(net)
    assert copy.parts[0] is copy[0] and copy.parts[0] is not net[0]
    assert copy.parts[1] is not net.parts[1] and copy.sizes == net.sizes


def test_a_default_of_a_function_belongs_to_the_copy_beside_one_that_does_not():
    net = small()

    def first(x, factor=2.0, layer=net[0]):
        return layer(x) * factor

    net.act = first
    copy = frozen_copy(net)
    assert copy.act.__defaults__ == (2.0, copy[0]) and first.__defaults__ == (2.0, net[0])


class Sidecar(nn.Module):
    """Keeps parts of itself in places where nobody looks for modules."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(64, 3)
        self.lock = threading.Lock()
        self.hidden = [nn.BatchNorm2d(4)]
        self.scale = lambda x: x * self.fc.bias.sum()
        self.activate = functools.partial(self.rectify, factor=2.0)
        self.seen = None
        self.calls = 0
        self.history = []
        self.conv.register_forward_hook(self.remember)

    def rectify(self, x, factor):
        return torch.relu(x) * factor

    def remember(self, module, inputs, output):
        self.seen = output

    def forward(self, x):
        self.calls += 1
        self.history.append(self.calls)
        self.conv(x)
        y = self.activate(self.hidden[0].eval()(self.seen))
        return self.fc(self.scale(y).flatten(1))


def test_bound_methods_closures_hooks_and_hidden_modules_belong_to_the_copy():
    torch.manual_seed(0)
    net = Sidecar()
    before = snapshot(net)
    found = probed(classifier_of(net))
    assert net.seen is None and net.calls == 0 and net.history == []
    assert net.hidden[0].training and snapshot(net) == before
    assert torch.equal(found, plain(net))


def test_old_spellings_of_normalized_weights_can_be_copied():
    """Their weight is a result of the last forward, which deepcopy refuses."""
    with pytest.warns(FutureWarning):
        conv = nn.utils.weight_norm(nn.Conv2d(1, 4, 3))
    net = nn.Sequential(conv, nn.utils.spectral_norm(nn.Conv2d(4, 4, 3)), nn.Flatten(),
                        nn.Linear(16, 3))  # fmt: skip
    net(IMAGES)
    before = snapshot(net)
    found = probed(classifier_of(net))
    assert snapshot(net) == before
    assert torch.equal(found, plain(net))


def test_m23_a_lazy_network_is_refused_with_the_way_out():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(ModelContractError, match="never been run") as caught:
        Classifier.wrap(net, input_shape=(1, 6, 6))
    assert caught.value.code == "M23" and "module(torch.zeros" in caught.value.hint
    net(IMAGES)
    with fast_paths(False):  # Layouts round differently on some processors.
        assert torch.equal(probed(Classifier.wrap(net, input_shape=(1, 6, 6))), plain(net))


class Odd(nn.Module):
    """Harmless in evaluation mode; in training mode other numbers, and changed statistics."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True)
        self.fc = nn.Linear(4, 3)
        self.norm.running_mean.uniform_(-1, 1)
        self.prepare_oddly()

    def prepare_oddly(self):
        pass

    def reach(self, x):
        return self.norm(x)

    def forward(self, x):
        return self.fc(self.reach(self.conv(x)).relu().mean((2, 3)))


class Engine:
    """An object with a lock, which cannot be deep-copied."""

    def __init__(self, part):
        self.part, self.lock = part, threading.Lock()


class InAnObjectWithALock(Odd):
    def prepare_oddly(self):
        self.engine = Engine(self.norm)

    def reach(self, x):
        return self.engine.part(x)


class ByAWeakReference(Odd):
    def prepare_oddly(self):
        self.weak = weakref.ref(self.norm)

    def reach(self, x):
        return self.weak()(x)


class ByADefault(Odd):
    def prepare_oddly(self):
        def function(x, *, norm=self.norm):
            return norm(x)

        self.function = function

    def reach(self, x):
        return self.function(x)


class DeepInAClosure(Odd):
    def prepare_oddly(self):
        deep = {"a": [{"norm": functools.partial(self.norm)}]}
        self.function = lambda x: deep["a"][0]["norm"](x)

    def reach(self, x):
        return self.function(x)


class ByABoundBuiltin(Odd):
    def prepare_oddly(self):
        self.table = {"norm": self.norm}
        self.get = self.table.get

    def reach(self, x):
        return self.get("norm")(x)


class AsAKey(Odd):
    def prepare_oddly(self):
        self.gains = {self.norm: 2.0}

    def reach(self, x):
        for part, gain in self.gains.items():
            x = part(x) * gain
        return x


class InASlot(Odd):
    __slots__ = ("gain",)

    def prepare_oddly(self):
        object.__setattr__(self, "gain", 3.0)

    def reach(self, x):
        return self.norm(x) * getattr(self, "gain", 1.0)


class OnAParameter(Odd):
    def prepare_oddly(self):
        self.fc.weight.gain = 3.0

    def reach(self, x):
        return self.norm(x) * self.fc.weight.gain


class Conjugated(Odd):
    def prepare_oddly(self):
        self.register_buffer("k", torch.fft.fft2(torch.randn(4, 4, 4)).conj())
        self.register_buffer("m", torch.randn(4, 4, 4, dtype=torch.complex64).conj().imag)

    def reach(self, x):
        return torch.fft.ifft2(torch.fft.fft2(self.norm(x)) * self.k).real + self.m


class SharesAContext(Odd):
    class Put:
        def __init__(self, context):
            self.context = context

    def prepare_oddly(self):
        context = {"v": None}
        self.one, self.two = self.Put(context), self.Put(context)

    def reach(self, x):
        self.one.context["v"] = x.mean((1, 2, 3), keepdim=True)
        return self.norm(x) + self.two.context["v"]


class HookFillsADict(Odd):
    """The pattern of many tutorials."""

    def prepare_oddly(self):
        self.features = {}
        store = self.features
        self.conv.register_forward_hook(
            lambda module, inputs, output: store.__setitem__("f", output.mean((1, 2, 3)))
        )

    def forward(self, x):
        return super().forward(x) + self.features["f"][:, None]


@pytest.mark.parametrize(
    "kind",
    [Odd, InAnObjectWithALock, ByAWeakReference, ByADefault, DeepInAClosure, ByABoundBuiltin,
     AsAKey, InASlot, OnAParameter, Conjugated, SharesAContext, HookFillsADict],
)  # fmt: skip
@pytest.mark.parametrize("ran_before", [False, True])
def test_parts_are_reached_in_the_copy_however_they_are_held(kind, ran_before):
    torch.manual_seed(0)
    net = kind()
    if ran_before:
        net(IMAGES[:2])
    before, kept = snapshot(net), dict(getattr(net, "features", {}))
    found = probed(Classifier.wrap(net, input_shape=(1, 6, 6)))
    assert snapshot(net) == before and getattr(net, "features", {}) == kept
    assert torch.equal(found, plain(net))


def test_a_global_that_a_function_uses_is_the_copys():
    """As in a notebook."""
    global NET
    torch.manual_seed(0)
    NET = Odd()
    NET.forward = lambda x: NET.fc(NET.norm(NET.conv(x)).relu().mean((2, 3)))
    before = snapshot(NET)
    found = probed(Classifier.wrap(NET, input_shape=(1, 6, 6)))
    assert snapshot(NET) == before
    assert torch.equal(found, plain(NET))


class ByTheClass(Odd):
    """Not copied with the network: refused before anything is changed."""

    def prepare_oddly(self):
        ByTheClass.shared = [self.norm]

    def reach(self, x):
        return ByTheClass.shared[0](x)


class ByAProxy(Odd):
    def prepare_oddly(self):
        self.__dict__["proxy"] = weakref.proxy(self.norm)

    def reach(self, x):
        return self.proxy(x)


@pytest.mark.parametrize(
    "foreign",
    [torch.ones(2), nn.Linear(2, 2), nn.Linear, math, 3, "x"],
    ids=lambda x: type(x).__name__,
)
def test_a_list_that_a_hook_fills_stays_its_owners_whatever_is_in_it(foreign):
    seen = [foreign]
    net = small()
    net[0].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    probed(classifier_of(net))
    assert seen[0] is foreign and len(seen) > 1


@pytest.mark.parametrize("kind", [ByTheClass, ByAProxy])
def test_m25_what_cannot_be_copied_is_refused_by_name(kind):
    torch.manual_seed(0)
    net = kind()
    before = snapshot(net)
    with pytest.raises(ModelContractError, match="'norm") as caught:
        Classifier.wrap(net, input_shape=(1, 6, 6))
    assert caught.value.code == "M25" and snapshot(net) == before


def test_preprocessing_and_output_belong_to_the_network():
    class Features(Odd):
        def head(self, hidden):
            return self.fc(self.norm(hidden).relu().mean((2, 3)))

        def forward(self, x):
            return self.conv(x)

    torch.manual_seed(0)
    net, stem = Features(), nn.InstanceNorm2d(1, track_running_stats=True)
    before = snapshot(net), snapshot(stem)
    classifier = Classifier.wrap(net, input_shape=(1, 6, 6), output=net.head, preprocess=stem)
    found = probed(classifier)
    assert (snapshot(net), snapshot(stem)) == before
    with torch.no_grad():
        assert torch.equal(found, net.eval().head(net(stem.eval()(IMAGES))))


def test_a_function_that_calls_itself_can_be_copied():
    def halve(x, k):
        return x if k == 0 else halve(x * 0.5, k - 1)

    class Recursive(Odd):
        def prepare_oddly(self):
            self.function = halve

        def reach(self, x):
            return self.function(self.norm(x), 2)

    torch.manual_seed(0)
    net = Recursive()
    assert torch.equal(probed(Classifier.wrap(net, input_shape=(1, 6, 6))), plain(net))


# ---------------------------------------------------------------------- randomness


def test_a_probe_does_not_touch_the_callers_random_numbers():
    classifier, drawn = classifier_of(small()), []
    for _ in range(3):
        with classifier.probe() as probe:
            drawn.append(torch.rand(3))
            probe.logits(IMAGES)
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])


def test_a_network_that_draws_has_a_stream_of_its_own():
    """From seed 0 with each probe: no result depends on the caller's state, and none moves it."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    net.append(type("Noise", (nn.Module,), {"forward": lambda self, x: x + torch.randn_like(x)})())
    classifier, found = Classifier.wrap(net, input_shape=(1, 6, 6)), []
    assert "randomized" in classifier.flags
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        with classifier.probe() as probe:
            found.append((probe.logits(IMAGES), probe.logits(IMAGES)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0][0], found[1][0]) and not torch.equal(*found[0])


# ---------------------------------------------------------------------- writes that must not arrive


class Writes(nn.Module):
    """Does on every call what a network can do to itself and to the world."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        self.fc.weight.data.mul_(0.999)
        self.conv.register_forward_hook(lambda *_: None)
        self.extra = nn.Linear(1, 1)
        np.random.rand()  # noqa: NPY002
        random.random()
        torch.rand(())
        self.fc.train()
        x -= 0.5
        x /= 0.25
        return self.fc(self.conv(x).flatten(1))


def test_a_network_that_writes_everywhere_changes_nothing():
    torch.manual_seed(0)
    net = Writes()
    before, images = snapshot(net), IMAGES.clone()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    classifier = Classifier.wrap(net, input_shape=(1, 6, 6))
    probed(classifier, images)
    saliency(classifier, images)
    classifier.predict(images)
    classifier.layers()
    pgd(classifier, images, torch.arange(6) % 3, epsilon=0.1, steps=2)
    assert snapshot(net) == before and not hasattr(net, "extra")
    assert torch.equal(images, IMAGES)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002


def test_all_three_random_states_are_given_back():
    states, before = RandomStates(), random.getstate()
    assert not states.moved()
    for draw in (random.random, np.random.rand, lambda: torch.rand(())):
        draw()
        assert states.moved()
        states.rewind()
        assert not states.moved()
    assert random.getstate() == before


def test_a_network_that_normalizes_in_place_is_no_random_one():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small()

        def forward(self, x):
            x -= 0.5
            x /= 0.25
            return self.body(x)

    torch.manual_seed(0)
    net = InPlace()
    classifier = Classifier.wrap(net.eval(), input_shape=(1, 6, 6))
    images = IMAGES.clone()
    assert classifier.flags == ()
    assert torch.equal(classifier.logits(images), classifier.logits(images))
    assert torch.equal(probed(classifier, images), net(IMAGES.clone()))
    assert torch.equal(images, IMAGES)


def test_a_cached_output_of_the_network_does_not_overwrite_earlier_ones():
    class Reuses(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(36, 3)
            self.out = torch.zeros(0)

        def forward(self, x):
            if len(self.out) != len(x):
                self.out = torch.zeros(len(x), 3)
            self.out = self.out.detach()
            self.out.copy_(self.fc(x.flatten(1)))
            return self.out

    torch.manual_seed(0)
    net = Reuses()
    many = torch.rand(512, 1, 6, 6)
    with torch.no_grad():
        expected = net.fc(many.flatten(1))
    assert torch.allclose(probed(classifier_of(net), many), expected, atol=1e-6)


# ---------------------------------------------------------------------- probes that meet


def test_a_probe_is_open_once():
    with classifier_of(small()).probe() as probe:
        with pytest.raises(UsageError, match="open already"):
            probe.__enter__()
        probe.logits(IMAGES)
    with probe:  # After it has closed it may open again.
        probe.logits(IMAGES)
    assert probe.forwards == 12


def test_probes_may_close_in_any_order_or_never():
    net = small()
    classifier, before, expected = classifier_of(net), snapshot(net), None
    one, two, dropped = classifier.probe(), classifier.probe(), classifier.probe()
    for probe in (one, two, dropped):
        probe.__enter__()
    expected = one.logits(IMAGES)
    one.__exit__(None, None, None)
    assert torch.equal(two.logits(IMAGES), expected)
    two.__exit__(None, None, None)
    del dropped

    def forgotten():
        with classifier.probe() as probe:
            yield probe.logits(IMAGES)
            yield probe.logits(IMAGES)

    running = forgotten()
    next(running)
    assert snapshot(net) == before
    running.close()
    assert snapshot(net) == before


def test_a_probe_of_another_thread_is_refused():
    found = []

    def use(probe):
        try:
            probe.logits(IMAGES)
        except UsageError as error:
            found.append(error.code)

    with classifier_of(small()).probe() as probe:
        thread = threading.Thread(target=use, args=(probe,))
        thread.start()
        thread.join()
    assert found == ["U13"]


def test_four_threads_get_the_answers_of_one():
    net = small()
    classifier, labels = Classifier.wrap(net, input_shape=(1, 6, 6)), torch.arange(6) % 3
    before = snapshot(net)
    right = (
        probed(classifier),
        saliency(classifier, IMAGES).maps,
        pgd(classifier, IMAGES, labels, epsilon=0.1, steps=3).adversarials,
    )
    wrong, errors = [], []

    def work():
        try:
            for _ in range(12):
                found = (
                    probed(classifier), saliency(classifier, IMAGES).maps,
                    pgd(
                        classifier, IMAGES, labels, epsilon=0.1, steps=3
                    ).adversarials,
                )  # fmt: skip
                wrong.extend(k for k in range(3) if not torch.equal(found[k], right[k]))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and errors == []
    assert snapshot(net) == before


def test_training_in_another_thread_goes_on_undisturbed():
    net, done, errors = small().train(), threading.Event(), []
    classifier = classifier_of(net)

    def train():
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        try:
            for _ in range(40):
                optimizer.zero_grad()
                net(IMAGES).square().mean().backward()
                assert all(p.grad is not None for p in net.parameters())
                optimizer.step()
        except BaseException as error:
            errors.append(error)
        done.set()

    thread = threading.Thread(target=train)
    thread.start()
    while not done.is_set():
        pgd(classifier, IMAGES, torch.arange(6) % 3, epsilon=0.1, steps=2)
    thread.join()
    assert errors == [] and net.training and all(p.requires_grad for p in net.parameters())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_forked_inside_a_probe_has_the_network_as_found():
    net = small()
    before = snapshot(net)
    with classifier_of(net).probe() as probe:
        probe.logits(IMAGES)
        child = os.fork()
        if child == 0:
            os._exit(0 if snapshot(net) == before else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0 and snapshot(net) == before


# ---------------------------------------------------------------------- signals


@pytest.fixture
def interruptible():
    """Under nohup or in the background, the test process itself may ignore Ctrl-C."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
def test_a_signal_while_a_probe_opens_leaves_the_network_as_found():
    class Interrupts(nn.Sequential):
        armed = 0

        def named_modules(self, *args, **kwargs):
            for count, item in enumerate(super().named_modules(*args, **kwargs)):
                if Interrupts.armed and count == Interrupts.armed:
                    Interrupts.armed = 0
                    signal.raise_signal(signal.SIGINT)
                yield item

    torch.manual_seed(0)
    net = Interrupts(*small())
    classifier, before = classifier_of(net), snapshot(net)
    happened = 0
    for place in range(1, 6):
        Interrupts.armed = place
        try:
            saliency(classifier, IMAGES)
        except KeyboardInterrupt:
            happened += 1
        assert snapshot(net) == before
    Interrupts.armed = 0
    assert happened >= 3


@pytest.mark.usefixtures("interruptible")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_real_signals_at_random_instants_leave_the_network_as_found():
    net = small().train()
    classifier, before = classifier_of(net), snapshot(net)
    labels, moments = torch.arange(6) % 3, random.Random(0)
    interrupted = 0
    for _ in range(60):
        timer = threading.Timer(moments.random() * 0.02, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            for _ in range(100):
                pgd(classifier, IMAGES, labels, epsilon=0.1, steps=2)
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        assert snapshot(net) == before
    assert interrupted >= 50  # Python itself swallows those that come in a weak reference.


# ---------------------------------------------------------------------- what a second look found


class ByASentinel(Odd):
    MARK = object()

    def prepare_oddly(self):
        self.kind = self.MARK

    def reach(self, x):
        return self.norm(x) * (2 if self.kind is self.MARK else 1)


class InAMangledSlot(Odd):
    class Part:
        __slots__ = ("__gain",)

        def __init__(self):
            self.__gain = 2.0

        def gain(self):
            return self.__gain

    def prepare_oddly(self):
        self.part = self.Part()

    def reach(self, x):
        return self.norm(x) * self.part.gain()


class InAnAttributeDict(Odd):
    class Table(dict):
        __getattr__ = dict.__getitem__
        __setattr__ = dict.__setitem__

    def prepare_oddly(self):
        self.table = self.Table(norm=self.norm, count=torch.zeros(()))

    def reach(self, x):
        self.table["count"].add_(1.0)
        return self.table.norm(x)


@pytest.mark.parametrize("kind", [ByASentinel, InAMangledSlot, InAnAttributeDict])
def test_objects_are_themselves_or_copied_whole(kind):
    torch.manual_seed(0)
    net = kind()
    before = snapshot(net)
    found = probed(Classifier.wrap(net, input_shape=(1, 6, 6)))
    assert snapshot(net) == before
    if kind is InAnAttributeDict:
        assert net.table["count"] == 0
    assert torch.equal(found, plain(net))


def test_m25_a_part_without_tensors_is_noticed_too():
    class Mode(nn.Module):
        def forward(self, x):
            return x * 3 + 1 if self.training else x

    class Registered(Odd):
        shared = []  # noqa: RUF012

        def prepare_oddly(self):
            self.mode = Mode()
            Registered.shared.append(self.mode)

        def reach(self, x):
            return Registered.shared[0](self.norm(x))

    torch.manual_seed(0)
    with pytest.raises(ModelContractError, match="'mode'") as caught:
        Classifier.wrap(Registered(), input_shape=(1, 6, 6))
    assert caught.value.code == "M25"


def test_a_part_of_the_original_may_be_asked_as_long_as_it_is_not_run():
    class Scale(nn.Module):
        def factor(self):
            return 3.0

        def forward(self, x):
            return x * self.factor()

    class Asking(Odd):
        shared = []  # noqa: RUF012

        def prepare_oddly(self):
            self.scale = Scale()
            Asking.shared.append(self.scale)

        def reach(self, x):
            return self.norm(x) * Asking.shared[0].factor()

    torch.manual_seed(0)
    net = Asking()
    assert torch.equal(probed(Classifier.wrap(net, input_shape=(1, 6, 6))), plain(net))


def test_preprocessing_that_draws_has_a_stream_of_its_own():
    classifier = Classifier.wrap(
        small().eval(), input_shape=(1, 6, 6), preprocess=lambda x: x + 0.1 * torch.randn_like(x)
    )
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(probed(classifier))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*found)


def test_two_threads_with_a_network_that_draws_give_the_state_back():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    net.append(type("Noise", (nn.Module,), {"forward": lambda self, x: x + torch.randn_like(x)})())
    classifier = Classifier.wrap(net, input_shape=(1, 6, 6))
    right, before, wrong = probed(classifier), torch.get_rng_state(), []

    def work():
        for _ in range(60):
            if not torch.equal(probed(classifier), right):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and torch.equal(torch.get_rng_state(), before)


def test_another_thread_that_draws_does_not_make_a_network_random():
    done = threading.Event()

    def draw():
        while not done.is_set():
            random.random()
            np.random.rand()  # noqa: NPY002

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(5):
            assert Classifier.wrap(small().eval(), input_shape=(1, 6, 6)).flags == ()
    finally:
        done.set()
        thread.join()


class Moment:
    """An object that exists only while another one is copied."""


class WithState:
    """Copied by a state that is made for the copy: what it holds is gone afterwards."""

    seen: weakref.ReferenceType

    def __new__(cls, *arguments):
        return super().__new__(cls)

    def __reduce_ex__(self, protocol):
        moment = Moment()
        WithState.seen = weakref.ref(moment)
        return WithState, (), {"moment": moment}


def test_identities_of_objects_that_a_copy_makes_for_a_moment_are_not_given_away():
    """Else a later object with the identity of a forgotten one would be taken for its copy."""
    network = nn.Linear(2, 2)
    network.held = WithState()
    network.held.name = "not empty"
    copier = Copier(network, [])
    copier.module(network)
    assert id(WithState.seen()) in copier.memo
