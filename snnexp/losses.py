"""Losses: `loss(activity, scores, labels)`, a mean over the batch."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from snnexp.activity import Activity
from snnexp.checks import require, require_between, require_positive

Scores = Float[Tensor, "batch class"]
Labels = Int[Tensor, " batch"]


class Loss(ABC):
    """`name` is the loss' name in the logs, `reads` what it needs of the readout beside scores."""

    name: str
    reads: str | None = None

    @abstractmethod
    def __call__(self, activity: Activity, scores: Scores, labels: Labels) -> Float[Tensor, ""]: ...


class NoLoss(Loss):
    """0, for runs that only minimize regularizers."""

    name = "none"

    def __call__(self, activity: Activity, scores: Scores, labels: Labels) -> Float[Tensor, ""]:
        return scores.new_zeros(())


class CrossEntropy(Loss):
    """Cross entropy of the scores' softmax. label_smoothing in [0, 1]."""

    name = "cross_entropy"

    def __init__(self, *, label_smoothing: float):
        (self.label_smoothing,) = require_between(0, 1, label_smoothing=label_smoothing)

    def __call__(self, activity: Activity, scores: Scores, labels: Labels) -> Float[Tensor, ""]:
        return functional.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)


class CrossEntropyOverTime(Loss):
    """Cross entropy of the readout's membrane, summed over steps (snnTorch's tutorial 5).

    The decoder still decides: with `spike_count` accuracy is that of the counts.
    """

    name = "cross_entropy_over_time"
    reads = "membrane"

    def __init__(self, *, label_smoothing: float):
        (self.label_smoothing,) = require_between(0, 1, label_smoothing=label_smoothing)

    def __call__(self, activity: Activity, scores: Scores, labels: Labels) -> Float[Tensor, ""]:
        membrane = activity.readout.membrane
        assert membrane is not None
        total = functional.cross_entropy(
            membrane.flatten(0, 1),
            labels.repeat(len(membrane)),
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / len(labels)


class TimeToFirstSpike(Loss):
    """Cross entropy of first spikes and a price of late ones, from scores that are -t in s.

    -log(exp(-t_y / tau) / sum_k exp(-t_k / tau)) + alpha (exp(t_y / tau_late) - 1), y the label;
    tau, tau_late in s. After Wunderlich & Pehle 2021, their Yin-Yang experiment.
    """

    name = "first_spike"
    reads = "spikes"

    def __init__(self, *, tau: float, alpha: float, tau_late: float):
        self.tau, self.tau_late = require_positive("s", tau=tau, tau_late=tau_late)
        require(alpha >= 0, f"alpha: {alpha!r}; it must not be negative")
        self.alpha = alpha

    def __call__(self, activity: Activity, scores: Scores, labels: Labels) -> Float[Tensor, ""]:
        own = labels[:, None] == torch.arange(scores.shape[1], device=labels.device)
        # not gathered: backward a GPU would wait for a copy from the host if it is deterministic
        late = -torch.where(own, scores, 0.0).sum(1, keepdim=True) / self.tau_late
        price = self.alpha * torch.expm1(late).mean()
        return functional.cross_entropy(scores / self.tau, labels) + price


class MSECount(Loss):
    """Mean over batch and class of (n - n*)^2 / T, n the output's spikes in T steps.

    n* = int(rate T) with `rate_correct` for the label's class and `rate_incorrect` for the others,
    in spikes per step (snnTorch's mse_count_loss).
    """

    name = "mse_count"
    reads = "spikes"

    def __init__(self, *, rate_correct: float, rate_incorrect: float):
        require_between(0, 1, rate_correct=rate_correct, rate_incorrect=rate_incorrect)
        require(
            rate_incorrect < rate_correct,
            f"rate_incorrect: {rate_incorrect!r}; it must be below rate_correct = {rate_correct!r}",
        )
        self.rate_correct, self.rate_incorrect = rate_correct, rate_incorrect

    def __call__(self, activity: Activity, scores: Scores, labels: Labels) -> Float[Tensor, ""]:
        counts, steps = activity.readout.counts, activity.inputs.num_steps
        assert counts is not None
        correct = labels[:, None] == torch.arange(counts.shape[1], device=labels.device)
        low, high = int(self.rate_incorrect * steps), int(self.rate_correct * steps)
        target = torch.where(correct, float(high), float(low))
        return (counts - target).square().mean() / steps
