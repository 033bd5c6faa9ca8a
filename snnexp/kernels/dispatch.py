"""Chooses the kernel for a scan."""

import functools
import importlib
import logging
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

import torch
from torch import Tensor

from snnexp.kernels import compiled, operators, reference
from snnexp.kernels.packed import Packed
from snnexp.kernels.product import Product
from snnexp.kernels.projection import Current, Projection, whole
from snnexp.kernels.scan import Measured, NeuronParameters, Scan, State, switches
from snnexp.kernels.surrogates import FORMULAS, Formula

log = logging.getLogger(__name__)
KERNELS = ("auto", "reference", "torch", "numba", "triton")
"""What `backend.kernel` may be."""


def scan(
    current: Current,
    parameters: NeuronParameters,
    recurrent: Tensor | None = None,
    state: State | None = None,
    *,
    steps: int | None = None,
    membrane: bool = False,
    margin: bool = False,
    synaptic: bool = False,
    measured: Measured | None = None,
    smooth: bool = False,
    kernel: str = "auto",
) -> Scan:
    """Run `parameters`' update over `current` [time, batch, neuron] from `state` (None: at rest).

    current: a tensor, or a `Projection`, which kernel `numba` makes as it goes.
    steps: the number of steps if `current` has one that stands for all. recurrent: [to, from]; its
    product with the spikes of a step is added to the current of the next. membrane, margin,
    synaptic: record these traces; an integrator's membrane is always recorded. measured: see
    `Measured`. smooth: spikes are the surrogate's integral, whose derivative is exact, so that
    gradients can be checked against finite differences; not with refractory steps.
    kernel: `reference` is the plain loop under autograd, the others have a hand-derived backward
    pass: `torch` everywhere, `numba` compiled for the CPU, `triton` for CUDA; `auto` takes the
    fastest that can run this. What cannot runs in the next slower one, which the log says once.
    Membranes are integrated in no less than float32, in which all but `triton` take their currents,
    too.
    Raises ValueError for a batch or a layer without entries, and for steps or shapes that do not
    fit each other.
    """
    steps = _checked(current, steps, parameters, smooth, measured)
    membrane = membrane or parameters.surrogate is None
    wanted = {"membrane": membrane, "margin": margin, "synaptic": synaptic}
    if isinstance(current, Tensor) and not _asks_for_triton(kernel, current):
        current = at_least_float32(current)
    chosen = _choose(kernel, current, parameters, recurrent, smooth)
    if isinstance(current, Tensor) and chosen != "triton":
        current = at_least_float32(current)
    if chosen == "reference":
        every = whole(current).expand(steps, -1, -1)
        return reference.scan(
            every, parameters, recurrent, state, measured=measured, smooth=smooth, **wanted
        )
    current = current if chosen == "numba" else whole(current)
    return _scan(chosen, current, parameters, recurrent, state, steps, wanted, measured, smooth)


def _scan(
    kernel: str,
    current: Current,
    p: NeuronParameters,
    recurrent: Tensor | None,
    state: State | None,
    steps: int,
    wanted: dict[str, bool],
    measured: Measured | None,
    smooth: bool,
) -> Scan:
    if isinstance(current, Tensor):
        like, source = current, (current, None, None, None, None)
    else:
        like = current.weight
        source = (None, current.sent, current.start, current.link, current.weight)
    batch, size = current.shape[1:]
    recurrent = None if recurrent is None else recurrent.to(like.dtype)
    if kernel == "triton":
        like = at_least_float32(like.detach()[:1])
    initial = _initial(like, p, state, batch, size)
    _refuse_misfit((steps, batch, size), recurrent, initial, measured, 4 + p.adaptive)
    table = p.table(like, size)
    binary = not (p.multiple or smooth or measured is not None)
    learns, packed = torch.is_grad_enabled(), kernel == "numba" and binary
    again = packed and recurrent is None and current.shape[0] < steps and not p.adaptive
    surrogate = learns and not again and not p.exact  # margins made again are cheaper than kept
    find = switches if p.constant else switches.__wrapped__  # kept, learnt numbers keep their graph
    asked = find(
        p,
        smooth,
        packed=packed,
        margin=wanted["margin"] or surrogate,
        membrane=wanted["membrane"],
        synaptic=wanted["synaptic"] or (learns and p.exact),
        history=p.learnt if learns else 0,
    )
    shape = [p.surrogate.p, p.surrogate.q] if isinstance(p.surrogate, Formula) else [1.0, 1.0]
    with _own_precision(kernel, like):
        spikes, counts, margins, membranes, synaptics, _, end, words, _ = operators.scan(
            table,
            *source,
            recurrent,
            initial,
            None if measured is None else measured.spikes,
            None if measured is None else measured.membrane,
            list(asked),
            shape,
            steps,
            kernel,
        )
    sent = Packed((words,), (spikes,), counts) if asked.packed else spikes
    if p.returns_late:
        counts = counts + initial[2] - end[2]
        sent = _delayed(sent, counts, initial[2])
    return Scan(
        state=end,
        spikes=sent if p.surrogate is not None else None,
        membrane=membranes if wanted["membrane"] else None,
        margin=margins if wanted["margin"] and p.surrogate is not None else None,
        synaptic=synaptics if wanted["synaptic"] else None,
        counts=counts if p.surrogate is not None else None,
    )


def _own_precision(kernel: str, like: Tensor) -> AbstractContextManager:
    """Autocast would turn all to float32; Triton's kernels do what they need in their registers."""
    if kernel != "triton":
        return nullcontext()
    return torch.autocast(like.device.type, enabled=False)


def _initial(
    like: Tensor, p: NeuronParameters, state: State | None, batch: int, size: int
) -> Tensor:
    """The state before the first step as one tensor, in the precision of `like`."""
    if state is None:
        return p.at_rest(like, batch, size)
    return (state if isinstance(state, Tensor) else torch.stack(state)).to(like.dtype)


def _delayed(spikes: Tensor | Packed, counts: Tensor, first: Tensor) -> Tensor | Packed:
    """The same one step later, with the spikes `first` before them; counts: of these."""
    if isinstance(spikes, Tensor):
        return torch.cat([first[None], spikes[:-1]])
    (words,), (link,) = spikes.words, spikes.links
    words = torch.cat([operators.pack(first.detach()[None])[0], words[:-1]])
    return Packed((words,), (_Later.apply(link, first),), counts)


class _Later(torch.autograd.Function):
    """A packed train's link, one step later."""

    @staticmethod
    def forward(ctx, link: Tensor, first: Tensor) -> Tensor:
        return link.new_zeros(1).expand(link.shape)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        gradient = gradients[0]
        if isinstance(gradient, Product):
            return gradient.earlier()
        return torch.cat([gradient[1:], torch.zeros_like(gradient[:1])]), gradient[0]


def project(spikes: Tensor, weight: Tensor) -> Current:
    """The current [time, batch, neuron] that dense spikes cause through weight [neuron, channel].

    Spikes that carry no gradient, are 0 or 1 and few are projected one by one.
    """
    if not spikes.requires_grad and _lack(spikes) is None and weight.dtype == spikes.dtype:
        words, found = operators.pack(spikes)
        if 0 <= found <= operators.SPARSE * spikes.numel():
            return Projection(words, None, spikes, weight, *spikes.shape[:2])
    return torch.nn.functional.linear(spikes, weight)


def project_events(
    step: Tensor, sample: Tensor, channel: Tensor, steps: int, batch: int, weight: Tensor
) -> Current:
    """[time, batch, neuron]: for each event, the weights [neuron, channel] of its channel."""
    if _lack(weight) is None:
        sizes = (steps, batch, weight.shape[1])
        start, ordered = operators.sort_events(step, sample, channel, sizes)
        return Projection(ordered, start, None, weight, steps, batch)
    rows = weight.new_zeros(steps * batch, weight.shape[0])
    rows = rows.index_add(0, step * batch + sample, weight.t()[channel])
    return rows.view(steps, batch, len(weight))


def at_least_float32(current: Tensor) -> Tensor:
    """The current in the precision in which membranes are integrated."""
    return current.float() if current.dtype in (torch.float16, torch.bfloat16) else current


def _checked(
    current: Current,
    steps: int | None,
    p: NeuronParameters,
    smooth: bool,
    measured: Measured | None,
) -> int:
    shape = current.shape
    if len(shape) != 3 or 0 in shape:
        raise ValueError(
            f"current: its shape is {tuple(shape)}; a scan takes [time, batch, neuron] "
            "with at least one of each"
        )
    steps = shape[0] if steps is None else steps
    if shape[0] != steps and (shape[0] != 1 or isinstance(current, Projection)):
        raise ValueError(f"current: it has {shape[0]} steps, not {steps} or one for all")
    if smooth and (p.refractory_steps or p.multiple or p.exact or measured is not None):
        raise ValueError(
            "smooth: it goes with binary spikes of a surrogate, without refractory steps"
        )
    return steps


def _refuse_misfit(
    shape: tuple[int, int, int],
    recurrent: Tensor | None,
    initial: Tensor,
    measured: Measured | None,
    variables: int,
) -> None:
    """Compiled loops do not look where they read."""
    _, batch, size = shape
    wanted = {"recurrent": (recurrent, (size, size)), "state": (initial, (variables, batch, size))}
    if measured is not None:
        wanted["measured spikes"] = (measured.spikes, shape)
        wanted["measured membrane"] = (measured.membrane, shape)
    for name, (tensor, fitting) in wanted.items():
        if tensor is not None and tensor.shape != fitting:
            raise ValueError(f"{name}: its shape is {tuple(tensor.shape)}, not {fitting}")


def _choose(
    kernel: str, current: Current, p: NeuronParameters, recurrent: Tensor | None, smooth: bool
) -> str:
    if kernel == "reference":
        return kernel
    if p.surrogate is not None and type(p.surrogate) not in FORMULAS:
        name = type(p.surrogate).__name__
        _tell(f"the plain loop runs over time, since the faster ones do not know {name}")
        return "reference"
    if kernel == "torch":
        return kernel
    if _asks_for_triton(kernel, current):
        chosen, lack = "triton", _lacking_triton(current, recurrent, smooth)
    elif isinstance(current, Projection):
        return "numba"
    else:
        chosen, lack = "numba", _lack(current)
    if lack is None:
        return chosen
    if kernel != "auto" or _like(current).device.type in ("cpu", "cuda"):
        _tell(f"torch's operations run the loop over time, since {lack}")
    return "torch"


def _asks_for_triton(kernel: str, current: Current) -> bool:
    return kernel == "triton" or (kernel == "auto" and _like(current).is_cuda)


def _like(current: Current) -> Tensor:
    """A tensor of its device and precision."""
    return current if isinstance(current, Tensor) else current.weight


def _lacking_triton(current: Current, recurrent: Tensor | None, smooth: bool) -> str | None:
    module = _triton()
    if isinstance(module, str):
        return module
    return module.lack(_like(current), recurrent, smooth)


@functools.cache
def _triton() -> ModuleType | str:
    """Triton's scan, or why there is none."""
    try:
        return importlib.import_module("snnexp.kernels.triton_scan")
    except ImportError as error:
        return f"Triton cannot be used ({error})"


def _lack(tensor: Tensor) -> str | None:
    """What keeps it from the compiled kernels, if anything."""
    if tensor.device.type != "cpu":
        return f"numba's loop is for the CPU, not for {tensor.device.type}"
    if tensor.dtype not in (torch.float32, torch.float64):
        return f"the compiled one takes no {tensor.dtype}"
    return _lacking_compiler()


@functools.cache
def _lacking_compiler() -> str | None:
    try:
        compiled.load()
    except (ImportError, RuntimeError) as error:
        return f"numba cannot be used ({error})"
    return None


@functools.cache
def _tell(line: str) -> None:
    """Once a process."""
    log.info(line)
