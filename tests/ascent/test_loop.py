import pytest
import torch
from torch import nn

from convscope.ascent import ascend, box, l2_step, linf_ball, plain_step, sign_step, unconstrained
from convscope.classifier import Classifier
from convscope.errors import UsageError


def linear(weight):
    """A network whose logits are ``weight @ pixels``: every gradient is known."""
    layer = nn.Linear(4, len(weight), bias=False)
    layer.weight.data = torch.tensor(weight)
    net = nn.Sequential(nn.Flatten(), layer)
    return Classifier.wrap(net, input_shape=(1, 2, 2))


two = linear([[1.0, -1.0, 0.5, 0.0], [-1.0, 1.0, -0.5, 0.0]])
second = lambda x, logits, rows: logits[:, 1] - logits[:, 0]
reached = lambda logits, rows: logits[:, 1] > logits[:, 0]
start = torch.full((5, 1, 2, 2), 0.5) + 0.01 * torch.arange(5.0).view(5, 1, 1, 1) * torch.tensor(
    [1.0, -1.0, 1.0, 0.0]
).view(1, 1, 2, 2)


def climb(**more):
    return climb_on(second, **more)


def climb_on(objective, **more):
    settings = {"step": sign_step(0.016), "region": box(), "steps": 10} | more
    with two.probe() as probe:
        return ascend(start, probe, objective, **settings), probe.cost()


def test_one_step_is_one_sign_step():
    ascent, _ = climb(steps=1, step=sign_step(0.1))
    direction = torch.tensor([-1.0, 1.0, -1.0, 0.0]).view(1, 1, 2, 2)
    assert torch.allclose(ascent.images, start + 0.1 * direction)


def test_rows_that_are_done_leave_and_the_rest_is_counted():
    ascent, cost = climb(stop=reached)
    # Rows reach the other side after as many steps as they are away from it: counted by hand.
    margin = second(None, two.logits(start), None)
    needed = (torch.floor(-margin / 0.08 + 1e-4) + 1).clamp_min(0).long()
    assert ascent.stopped.all() and torch.equal(ascent.steps, needed)
    assert cost.forwards < 5 * 11 and cost.forwards == int((needed + 1).sum())


def test_stopping_rows_do_not_change_the_others():
    all_together, _ = climb(stop=reached)
    assert all_together.stopped.any()
    with two.probe() as probe:
        for i in range(5):
            alone = ascend(start[i : i + 1], probe, second, step=sign_step(0.016), region=box(),
                           steps=10, stop=reached)  # fmt: skip
            assert torch.equal(alone.images[0], all_together.images[i])


def test_keep_last_goes_on_and_still_says_who_stopped():
    ascent, cost = climb(stop=reached, keep="last")
    assert (ascent.steps == 10).all() and ascent.stopped.all()
    assert cost.forwards == 55 and cost.backwards == 50


def test_keep_best_returns_the_highest_point_seen():
    overshoot = plain_step(lambda k: 0.1 if k == 0 else -0.1)
    best, _ = climb(keep="best", step=overshoot, steps=4)
    last, _ = climb(keep="last", step=overshoot, steps=4)
    assert (best.values > last.values).all() and (best.steps == 1).all()
    assert torch.allclose(best.values, best.history.amax(0))


def test_history_rises_and_ends_with_the_last_point():
    ascent, _ = climb(keep="last")
    assert ascent.history.shape == (11, 5)
    assert (ascent.history.diff(dim=0) > -1e-6).all()
    assert torch.allclose(ascent.history[-1], second(None, two.logits(ascent.images), None))


def test_zero_steps_is_a_projection():
    ball = linf_ball(torch.zeros(5, 1, 2, 2), 0.1)
    ascent, cost = climb(steps=0, region=ball)
    assert torch.equal(ascent.images, ball.project(start, torch.arange(5)))
    assert cost.backwards == 0


def test_u05_negative_steps():
    with pytest.raises(UsageError, match="steps must be at least 0, got -3"):
        climb(steps=-3)


def test_the_input_is_not_written_to():
    kept = start.clone()
    climb()
    assert torch.equal(start, kept)


def test_a_row_that_turns_nan_is_given_up_and_never_counted_as_done():
    def poisoned(x, logits, rows):
        return torch.where(rows == 2, torch.nan, 1.0) * logits[:, 1]

    with two.probe() as probe:
        ascent = ascend(start, probe, poisoned, step=sign_step(0.016), region=box(), steps=3,
                        stop=reached)  # fmt: skip
    assert ascent.nonfinite.tolist() == [False, False, True, False, False]
    assert not ascent.stopped[2] and ascent.images.isfinite().all()
    assert torch.equal(ascent.images[2], start[2])


def test_nan_logits_are_not_success():
    class Broken(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :2] * torch.where(x.flatten(1)[:, :1] > 0.52, torch.nan, 1.0)

    classifier = Classifier.wrap(Broken(), input_shape=(1, 2, 2))
    with classifier.probe() as probe:
        ascent = ascend(
            start,
            probe,
            lambda x, logits, rows: logits[:, 0],
            step=plain_step(0.005),
            region=box(),
            steps=8,
            stop=lambda logits, rows: logits[:, 0].isnan() | (logits[:, 0] > 0.6),
        )
    assert not ascent.stopped.any() and ascent.outputs.isfinite().all(dim=1)[0]


def test_zero_gradients_are_counted_and_the_fallback_takes_over():
    flat = lambda x, logits, rows: logits.sum(1) * 0.0
    with two.probe() as probe:
        stuck = ascend(start, probe, flat, step=l2_step(0.1), region=box(), steps=4)
        moved = ascend(
            start, probe, flat, step=l2_step(0.1), region=box(), steps=4, fallback=second
        )
    assert (stuck.zero_gradients == 4).all() and torch.equal(stuck.images, start)
    assert (moved.zero_gradients == 4).all() and not torch.equal(moved.images, start)


def test_latents_are_painted_before_the_network_sees_them():
    decode = lambda z, k, rows: torch.sigmoid(z)
    with two.probe() as probe:
        ascent = ascend(torch.zeros(5, 1, 2, 2), probe, second, step=plain_step(1.0),
                        region=unconstrained(), steps=30, decode=decode)  # fmt: skip
    assert (second(None, two.logits(torch.sigmoid(ascent.images)), None) > 1).all()


def test_several_views_of_a_row_are_reduced_by_the_objective():
    def views(x, k, rows):
        return torch.stack([x, x.flip(3)], dim=1).flatten(0, 1)

    mean = lambda x, logits, rows: (logits[:, 1] - logits[:, 0]).view(-1, 2).mean(1)
    with two.probe() as probe:
        ascent = ascend(start, probe, mean, step=l2_step(0.1), region=box(), steps=3, decode=views,
                        num_samples=2)  # fmt: skip
        assert probe.forwards == 5 * 2 * 4
    # Averaged over the mirror image, the two upper pixels cancel each other.
    assert torch.allclose(ascent.images[:, 0, 0, 0], start[:, 0, 0, 0], atol=1e-6)


def test_between_steps_something_may_be_done():
    ascent, _ = climb(steps=3, between=[lambda x, k, rows: 0 * x], keep="last")
    assert (ascent.images == 0).all()


def test_order_of_the_batch_does_not_matter():
    order = torch.tensor([3, 0, 4, 1, 2])
    one, _ = climb(stop=reached)
    with two.probe() as probe:
        other = ascend(start[order], probe, second, step=sign_step(0.016), region=box(), steps=10,
                       stop=reached)  # fmt: skip
    assert torch.equal(other.images, one.images[order]) and torch.equal(
        other.steps, one.steps[order]
    )


def test_an_observer_is_shown_every_point_before_rows_leave():
    points = []
    ascent, _ = climb(stop=reached, observer=points.append)
    assert [point.k for point in points] == list(range(len(points)))
    assert points[0].rows.tolist() == [0, 1, 2, 3, 4] and torch.equal(points[0].x, start)
    for point in points:
        assert torch.equal(ascent.history[point.k, point.rows], point.values)
    still_there = torch.cat([point.rows for point in points]).bincount(minlength=5)
    assert torch.equal(still_there - 1, ascent.steps)


def test_an_observer_is_shown_all_samples_and_the_end():
    points = []
    twice = lambda x, k, rows: x.repeat_interleave(2, dim=0)
    mean = lambda x, logits, rows: (logits[:, 1] - logits[:, 0]).view(-1, 2).mean(1)
    ascent, _ = climb_on(mean, decode=twice, num_samples=2, steps=3, observer=points.append)
    assert len(points) == 4 and torch.equal(points[-1].x, ascent.images)
    assert points[-1].samples.shape == (10, 2) and points[-1].outputs.shape == (5, 2)
    some = points[-1].of(torch.tensor([True, False, False, True, False]))
    assert torch.equal(some.samples, points[-1].samples[[0, 1, 6, 7]])


class Remembering:
    """A step that keeps every point it was shown."""

    def __init__(self, then):
        self.then, self.seen, self.copies = then, [], []

    def start(self, x):
        self.then.start(x)

    def observe(self, point):
        self.seen.append(point.x)
        self.copies.append(point.x.clone())

    def __call__(self, gradient, k, rows):
        return self.then(gradient, k, rows)


def test_what_a_step_was_shown_never_changes_afterwards():
    def breaks(x, logits, rows):
        values = second(x, logits, rows)
        return torch.where((rows == 0) & (values > 0), torch.nan, values)

    step = Remembering(sign_step(0.016))
    with two.probe() as probe:
        ascent = ascend(start, probe, breaks, step=step, region=box(), steps=10)
    # Everybody is there until one row breaks; from then on points are written row by row.
    assert {len(x) for x in step.seen} == {5, 4} and ascent.nonfinite.tolist()[0]
    assert all(torch.equal(x, y) for x, y in zip(step.seen, step.copies, strict=True))


def test_whole_batches_and_shrinking_ones_keep_the_same_points():
    nobody = lambda logits, rows: torch.zeros(len(rows), dtype=torch.bool)
    whole, _ = climb(stop=nobody)
    scored, _ = climb(keep=lambda x, values, outputs, rows: torch.full_like(values, -torch.inf))
    last, _ = climb(keep="last")
    assert torch.equal(whole.images, last.images) and torch.equal(whole.values, last.values)
    assert torch.equal(whole.outputs, last.outputs) and (whole.steps == 10).all()
    assert torch.equal(scored.images, start) and (scored.steps == 0).all()
    assert torch.equal(scored.history, whole.history)
