"""What is wrong with a network in training, in words that say what to do about it."""

from collections.abc import Iterator

from torch import Tensor

from snnexp.activity import Activity
from snnexp.inputs import Dense, Static
from snnexp.metrics import wilson_interval
from snnexp.metrics.activity import SATURATED


def first_batch_warnings(activity: Activity, reads_spikes: bool) -> list[str]:
    """One line for each spiking layer that is silent or saturated on a batch.

    reads_spikes: whether the decoder or the loss reads the readout's spikes; else it may be silent.
    """
    lines = []
    for name, layer in activity.layers.items():
        if layer.counts is None:
            continue
        rate = layer.counts.mean().item() / activity.inputs.num_steps
        hidden = layer is not activity.readout
        key = "model.neuron.threshold" if hidden else "model.readout.threshold"
        if rate == 0 and (hidden or reads_spikes):
            lost = "the layers behind it hear nothing" if hidden else "all its counts are 0"
            lines.append(
                f"{name} is silent on the first batch: {lost}, and it learns only as far as its "
                "surrogate gradient reaches below the threshold; raise the initial weights "
                f"(model.init), lower {key}, or give it more input spikes"
            )
        elif rate >= SATURATED:
            ways = ["lower the initial weights (model.init)", f"raise {key}"]
            ways += ["add regularizer=upper_rate"] if hidden else []
            lines.append(
                f"{name} spikes in {rate:.0%} of all steps on the first batch; "
                f"{', '.join(ways[:-1])} or {ways[-1]}"
            )
    return lines


def chance_warning(accuracy: float, samples: int, num_classes: int, epoch: int) -> str | None:
    """A line if an accuracy cannot be told from chance, else None."""
    low, _ = wilson_interval(round(accuracy * samples), samples)
    if low > 1 / num_classes:
        return None
    return (
        f"accuracy is still at chance after {epoch} epochs ({accuracy:.1%} of {num_classes} "
        "classes): try another optimizer.lr or a wider surrogate (a lower slope), and look at "
        "dead/, saturated/ and in_window/ in TensorBoard"
    )


def first_non_finite(
    values: Tensor,
    weights: dict[str, Tensor],
    activity: Activity,
    scores: Tensor,
    parts: dict[str, Tensor],
) -> str | None:
    """The name of the first tensor in the order of the flow with a NaN or an infinity."""
    for name, tensor in _flow(values, weights, activity, scores, parts):
        if not tensor.isfinite().all():
            return name
    return None


def _flow(
    values: Tensor,
    weights: dict[str, Tensor],
    activity: Activity,
    scores: Tensor,
    parts: dict[str, Tensor],
) -> Iterator[tuple[str, Tensor]]:
    if isinstance(values, Tensor):
        yield "the data set's values", values
    yield from ((f"the weights of {name}", weight) for name, weight in weights.items())
    if isinstance(activity.inputs, Dense | Static):
        yield "the encoder's output", activity.inputs.dense()
    for name, layer in activity.layers.items():
        recorded = {"spikes": layer.counts, "membrane": layer.membrane, "margin": layer.margin}
        yield from ((f"the {what} of {name}", x) for what, x in recorded.items() if x is not None)
    yield "the decoder's scores", scores
    yield from ((f"the loss part {name}", part) for name, part in parts.items())
