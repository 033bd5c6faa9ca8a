"""One scan with all it records and all its gradients, by any kernel, on the same random numbers."""

from dataclasses import replace
from itertools import product

import torch

from snnexp import kernels
from snnexp.kernels import Measured, NeuronParameters
from snnexp.kernels.switches import NUMBERS
from snnexp.models import SuperSpike
from tests.models import made

LIF = [
    {"reset": reset, "reset_delay": delay, "spike_from": source, "detach_reset": detach}
    for reset, delay, source, detach in product(
        ("subtract", "subtract_scaled", "zero", "none"),
        (True, False),
        ("after", "before"),
        (True, False),
    )
]
CUBA = [
    {"method": method, "tau_ref": tau_ref, "leak": leak, "reset": reset, "detach_reset": detach}
    for method, tau_ref, leak, reset, detach in product(
        ("euler", "exponential"), (0.0, 6e-6), (0.0, 0.2), (0.0, -0.3), (True, False)
    )
]
EXACT = [
    {"method": method, "tau_ref": tau_ref, "leak": leak, "reset": reset, "gradient": "eventprop"}
    for method, tau_ref, leak, reset in product(
        ("euler", "exponential"), (0.0, 6e-6), (0.0, 0.2), (0.0, -0.3)
    )
]
ADAPTIVE = {
    "soft": {"late": 0.9, "attached": True, "before_reset": True, "from_membrane": -0.01},
    "hard": {"hard": True, "drift": 0.1, "from_membrane": 0.3},
    "held": {"keep_syn": 0.5, "delayed": True, "hard": True, "refractory_steps": 2},
    "subtract": {"amount": 1.0, "from_membrane": 0.2, "from_spike": -0.4},
}


def adaptive(**settings):
    given = {"keep_mem": 0.9, "gain": 0.5, "keep_adapt": 0.95, "from_spike": 0.5} | settings
    return NeuronParameters(**given, surrogate=SuperSpike(slope=5.0))


SPIKING = {
    **{f"lif {s}": made.lif(size=1, **s).constants for s in LIF},
    **{f"cuba {s}": made.cuba_lif(size=1, normalized=False, **s).constants for s in CUBA},
    **{f"exact {s}": made.cuba_lif(size=1, normalized=False, **s).constants for s in EXACT},
    **{f"iaf {m}": made.iaf(size=1, multiple=m).constants for m in (False, True)},
    **{f"adaptive {name}": adaptive(**settings) for name, settings in ADAPTIVE.items()},
}
EVERY = (1 << len(NUMBERS)) - 1
"""All numbers learn, as `Switches.history` says it."""
INTEGRATORS = {
    "li": made.li(size=1).constants,
    "li normalised": made.li(size=1, normalized=True).constants,
    "cuba euler": made.cuba_li(size=1, method="euler", leak=0.2).constants,
    "cuba exponential": made.cuba_li(size=1, method="exponential", leak=0.2).constants,
}


def learnable(p, size, draw, dtype, device="cpu", only=None):
    """The same parameters with a number of its own for each neuron, all of which take gradients.

    only: the one that does, the others staying as they are.
    """
    numbers = {}
    every = NUMBERS if p.adaptive else NUMBERS[: NUMBERS.index("keep_adapt")]
    for name in every if only is None else [only]:
        spread = 0.1 * torch.rand(size, generator=draw, dtype=torch.double)
        number = getattr(p, name)
        number = (number + spread * (number != 0)).to(device, dtype)
        numbers[name] = number.requires_grad_()
    return replace(p, **numbers), list(numbers.values())


def outcome(
    kernel,
    p,
    shape,
    *,
    recurrent=False,
    static=False,
    learn=False,
    only=None,
    measured="",
    smooth=False,
    dtype=torch.double,
    seed=0,
    device="cpu",
):
    """Everything that a scan gives, by name, and the gradients of a random weighting of it all."""
    draw = torch.Generator().manual_seed(seed)
    steps, batch, size = shape

    def random(*sizes):
        return torch.randn(sizes, generator=draw, dtype=torch.double).to(device, dtype)

    state = random(4 + p.adaptive, batch, size).abs() / 2
    state[2], state[3] = state[2].round().clamp(max=1), 0
    current, weight = random(1 if static else steps, batch, size), random(size, size) / size**0.5
    leaves = [current, state, *([weight] if recurrent else [])]
    for leaf in leaves:
        leaf.requires_grad_()
    if learn:
        p, numbers = learnable(p, size, draw, dtype, device, only)
        leaves += numbers
    seen = None
    if measured:
        membrane = random(*shape) if "membrane" in measured else None
        seen = Measured((random(*shape) > 0.7).to(dtype), membrane)
    traces = {"membrane": True, "margin": True, "synaptic": True}
    found = kernels.scan(
        current,
        p,
        weight if recurrent else None,
        state,
        steps=steps,
        measured=seen,
        smooth=smooth,
        kernel=kernel,
        **traces,
    ).dense()
    parts = {name: part for name, part in vars(found).items() if part is not None}
    loss = sum((part[:3] * random(*part[:3].shape)).sum() for part in parts.values())
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    pairs = zip(gradients, leaves, strict=True)
    gradients = [torch.zeros_like(leaf) if g is None else g for g, leaf in pairs]
    return {name: part.detach() for name, part in parts.items()}, gradients
