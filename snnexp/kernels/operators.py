"""The kernels as custom operators of torch: with fake kernels, gradients and a rule for autocast.

They take and give plain tensors. What is not recorded, or not there, has no first dimension.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnexp.kernels import compiled, eager
from snnexp.kernels.product import Product, product
from snnexp.kernels.switches import NUMBERS, Source, Switches

SPARSE = 0.3
"""Share of spikes up to which adding rows of weights is faster than a matrix product."""


_LIBRARY = torch.library.Library("snnexp", "FRAGMENT")


class Operator:
    """A function of tensors as `torch.ops.snnexp.<name>`, with what torch asks of an operator.

    Not by `torch.library.custom_op`, which imports torch's compiler (2 s) at its first call. Where
    nobody watches (no compiler, export or autocast) a call goes past torch's dispatcher, whose
    bookkeeping in Python takes longer than a small scan.
    """

    def __init__(self, function: Callable):
        self.function = self.direct = function
        name = function.__name__
        _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        self.registered = getattr(torch.ops.snnexp, name).default
        self.__doc__ = function.__doc__

    def __call__(self, first: Tensor, *rest: Any) -> Any:
        watched = (
            torch.compiler.is_compiling()
            or type(first) not in (Tensor, torch.nn.Parameter)
            or torch.is_autocast_enabled(first.device.type)
        )
        return (self.registered if watched else self.direct)(first, *rest)

    def fake(self, function: Callable) -> None:
        """Register what gives empty tensors of the right shape."""
        torch.library.register_fake(self.registered, function, lib=_LIBRARY)

    def gradient(self, backward: Callable, setup: Callable | None = None) -> None:
        """Register the backward pass; `setup(ctx, inputs, output)` keeps what it needs."""
        torch.library.register_autograd(
            self.registered, backward, setup_context=setup, lib=_LIBRARY
        )
        function = self.function

        class Direct(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *inputs: Any) -> Any:
                output = function(*inputs)
                if setup is not None:
                    setup(ctx, inputs, output)
                return output

            @staticmethod
            @once_differentiable
            def backward(ctx: Any, *gradients: Any) -> Any:  # type: ignore[override]
                return backward(ctx, *gradients)

        self.direct = Direct.apply

    def autocast(self, dtype: torch.dtype) -> None:
        """Under autocast the operator's floats are cast to `dtype`."""
        for device in ("cpu", "cuda"):
            torch.library.register_autocast(self.registered, device, dtype, lib=_LIBRARY)


def _kernel(name: str) -> Any:
    """The module that runs it."""
    if name == "torch":
        return eager
    if name == "triton":
        return importlib.import_module("snnexp.kernels.triton_scan")
    return compiled.load()


@Operator
def scan(
    table: Tensor,
    current: Tensor | None,
    sent: Tensor | None,
    start: Tensor | None,
    link: Tensor | None,
    weight: Tensor | None,
    recurrent: Tensor | None,
    initial: Tensor,
    measured: Tensor | None,
    given: Tensor | None,
    switches: list[int],
    shape: list[float],
    steps: int,
    kernel: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All steps from `initial` [state, batch, neuron] over a current, or spikes and their weight.

    table: see `NeuronParameters.table`. current, sent, start, weight: see `Source`. link: what
    gradients of `sent` go through, [time, batch, channel]. recurrent: [to, from]. measured, given:
    `Measured`'s spikes and membrane. switches: `Switches`. shape: the surrogate's p and q.
    Returns the spikes as floats (a link without values if they are packed), counts [batch, neuron],
    margin, membrane, synaptic current, history [2 or 3, time, batch, neuron], the state at the end,
    the spikes as words, and where v was held (as words; kernel `torch`: floats, `triton`: int8,
    both as the spikes lie); as `switches` asks.
    """
    s = Switches(*switches)
    source = Source(current, sent, start, weight)
    spikes, *rest = _kernel(kernel).forward(
        source, table, recurrent, initial, measured, given, s, shape, steps
    )
    if s.spiking and s.packed:
        spikes = _link(initial, steps)
    return spikes, *rest  # type: ignore[return-value]


def _link(initial: Tensor, steps: int) -> Tensor:
    return initial.new_zeros(1).expand(steps, *initial.shape[1:])


@scan.fake
def _(table, current, sent, start, link, weight, recurrent, initial, measured, given, *rest):
    switches, _shape, steps, kernel = rest
    s = Switches(*switches)
    _, batch, size = initial.shape
    words = (size + 63) // 64
    new = initial.new_empty
    rows = 2 + s.adaptive if s.history else 0
    bits = {"dtype": torch.int64}
    refractory = steps if s.refractory_steps else 0
    packed = s.spiking and s.packed
    kind = current.dtype if kernel == "triton" else initial.dtype
    dense = {"torch": initial.dtype, "triton": torch.int8}
    return (
        _link(initial, steps)
        if packed
        else new(steps if s.spiking else 0, batch, size, dtype=kind),
        new(batch, size),
        new(steps if s.spiking and s.margin else 0, batch, size),
        new(steps if s.membrane else 0, batch, size),
        new(steps if s.synaptic else 0, batch, size),
        new(rows, steps, batch, size),
        new(initial.shape),
        new(steps if packed else 0, batch, words, **bits),
        new(refractory, batch, size, dtype=dense[kernel])
        if kernel in dense
        else new(refractory, batch, words, **bits),
    )


@Operator
def scan_backward(
    table: Tensor,
    current: Tensor | None,
    sent: Tensor | None,
    start: Tensor | None,
    weight: Tensor | None,
    recurrent: Tensor | None,
    initial: Tensor,
    record: list[Tensor],
    given: bool,
    to_spikes: Tensor | None,
    behind: Tensor | None,
    to_counts: Tensor | None,
    to_margin: Tensor | None,
    to_membrane: Tensor | None,
    to_synaptic: Tensor | None,
    to_state: Tensor | None,
    switches: list[int],
    shape: list[float],
    steps: int,
    kernel: str,
    lines: int,
    learns_initial: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of `scan`: gradients of current, weight, table, recurrent weight, initial state.

    current: where one step stood for all. record: words, spikes, margin (made again where it is
    empty; of `exact` neurons the synaptic current), history and held as `scan` filled them.
    to_spikes: with `behind`, the weight of the layer behind, this is the gradient of that layer's
    current. lines: steps of the current's gradient: all, 1 for their sum, or 0 if nobody asks.
    learns_initial: whether anybody asks for the initial state's gradient.
    """
    gradients = (to_spikes, behind, to_counts, to_margin, to_membrane, to_synaptic, to_state)
    return _kernel(kernel).backward(
        Source(current, sent, start, weight), table, recurrent, initial, tuple(record), given,
        gradients, Switches(*switches), shape, steps, lines, learns_initial,
    )  # fmt: skip


@scan_backward.fake
def _(table, current, sent, start, weight, recurrent, initial, record, given, *rest):
    *_, switches, _shape, _steps, _kernel_name, lines, learns_initial = rest
    new = initial.new_empty
    size = initial.shape[2]
    return (
        new(lines, *initial.shape[1:]),
        new(size, 0 if weight is None else weight.shape[1]),
        new(len(NUMBERS) if Switches(*switches).history else 0, size),
        new(size if recurrent is not None else 0, size),
        new(len(initial) if learns_initial else 0, *initial.shape[1:]),
    )


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    table, current, sent, start, _, weight, recurrent, initial, _, given, *rest = inputs
    spikes, _, margin, _, synaptic, history, _, words, held = output
    ctx.set_materialize_grads(False)
    none = margin[:0]
    s = Switches(*rest[0])
    record = (words, none if s.packed else spikes, synaptic if s.exact else margin, history, held)
    ctx.rest = rest
    ctx.static = current is not None and current.shape[0] < rest[2]
    current = current if ctx.static else None
    ctx.save_for_backward(table, current, sent, start, weight, recurrent, initial, *record)
    ctx.given = given is not None


def _scan_backward(ctx: Any, *gradients: Any) -> Any:
    table, static, sent, start, weight, recurrent, initial, *record = ctx.saved_tensors
    to_spikes, to_counts, to_margin, to_membrane, to_synaptic, _, to_state, _, _ = gradients
    behind = None
    if isinstance(to_spikes, Product):
        to_spikes, behind = to_spikes.lines, to_spikes.weight
    given = (to_spikes, behind, to_counts, to_margin, to_membrane, to_synaptic, to_state)
    if all(gradient is None for gradient in given):
        return (None,) * 14
    _, current, _, _, link, _, _, learns_initial, *_ = ctx.needs_input_grad
    lines = 1 if ctx.static else ctx.rest[2] if current or link else 0
    out, to_weight, to_table, to_recurrent, to_initial = scan_backward(
        table, static, sent, start, weight, recurrent, initial, record, ctx.given, *given,
        *ctx.rest, lines, learns_initial,
    )  # fmt: skip
    return (
        to_table if to_table.shape[0] else None,
        out if current else None,
        None,
        None,
        product(out, weight) if link else None,
        None if weight is None else to_weight,
        None if recurrent is None else to_recurrent,
        to_initial if learns_initial else None,
        *(None,) * 6,
    )


scan.gradient(_scan_backward, _keep)


@Operator
def project(words: Tensor, link: Tensor, weight: Tensor) -> Tensor:
    """Current [time, batch, neuron] of packed spikes through weight [neuron, channel]."""
    if link.shape[2] != weight.shape[1]:
        raise ValueError(f"weight: it takes {weight.shape[1]} channels, not {link.shape[2]}")
    return _kernel("numba").project_words(words, weight)


@project.fake
def _(words, link, weight):
    return weight.new_empty(words.shape[0], words.shape[1], weight.shape[0])


@Operator
def project_backward(words: Tensor, lines: Tensor, weight: Tensor) -> Tensor:
    """The gradient [neuron, channel] of `project`'s weight; lines: the current's."""
    return _kernel("numba").gather_words(words, lines, weight)


@project_backward.fake
def _(words, lines, weight):
    return weight.new_empty(weight.shape)


def _keep_projection(ctx: Any, inputs: tuple, output: Tensor) -> None:
    words, _, weight = inputs
    ctx.save_for_backward(words, weight)


def _project_backward(ctx: Any, lines: Tensor) -> Any:
    words, weight = ctx.saved_tensors
    _, to_link, to_weight = ctx.needs_input_grad
    return (
        None,
        product(lines, weight) if to_link else None,
        project_backward(words, lines, weight) if to_weight else None,
    )


project.gradient(_project_backward, _keep_projection)


@Operator
def unpack(words: Tensor, link: Tensor) -> Tensor:
    """Packed spikes as floats, [time, batch, neuron]."""
    return _kernel("numba").unpack(words, link.shape[2], link.dtype)


@unpack.fake
def _(words, link):
    return link.new_empty(link.shape)


unpack.gradient(lambda ctx, gradient: (None, gradient))


@Operator
def project_events(start: Tensor, channel: Tensor, weight: Tensor, batch: int) -> Tensor:
    """Current [time, batch, neuron] of events in the order of their rows (step, sample).

    start: [time x batch + 1], where each row's events begin. channel: int32, one an event.
    """
    return _kernel("numba").project_events(start, channel, weight, batch)


@project_events.fake
def _(start, channel, weight, batch):
    return weight.new_empty((start.shape[0] - 1) // batch, batch, weight.shape[0])


@Operator
def project_events_backward(start: Tensor, channel: Tensor, lines: Tensor, channels: int) -> Tensor:
    """The gradient [neuron, channel] of `project_events`' weight; lines: the current's."""
    return _kernel("numba").gather_events(start, channel, lines, channels)


@project_events_backward.fake
def _(start, channel, lines, channels):
    return lines.new_empty(lines.shape[2], channels)


def _keep_events(ctx: Any, inputs: tuple, output: Tensor) -> None:
    start, channel, weight, _ = inputs
    ctx.save_for_backward(start, channel)
    ctx.channels = weight.shape[1]


def _events_backward(ctx: Any, lines: Tensor) -> Any:
    start, channel = ctx.saved_tensors
    return None, None, project_events_backward(start, channel, lines, ctx.channels), None


project_events.gradient(_events_backward, _keep_events)

for _operator in (scan, project, project_events):
    _operator.autocast(torch.float32)


def pack(spikes: Tensor) -> tuple[Tensor, int]:
    """Words of dense spikes [time, batch, neuron], and their number; -1 if they are not binary."""
    return _kernel("numba").pack(spikes)


def sort_events(
    step: Tensor, sample: Tensor, channel: Tensor, sizes: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """What `project_events` takes, from events in any order; see `fused.sort_events`."""
    return _kernel("numba").sort_events(step, sample, channel, sizes)
