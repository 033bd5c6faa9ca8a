"""The reference level against hxtorch's equations, step by step under autograd.

The loop here is written from the published equations, apart from the package's own: old current
into the membrane, spikes by a strict threshold, reset to a value without a gradient, and with
measurements their injection: forward what was measured, backward the model's gradient.
"""

from functools import partial

import pytest
import torch

from snnexp.inputs import Dense
from snnexp.kernels import Measured, scan
from snnexp.models import CubaIAF, CubaLI, CubaLIF, Network, Normal, SuperSpike
from tests.models.made import ideal

DT, TAU_MEM, TAU_SYN = 2e-6, 6e-6, 5e-6
A, B = DT / TAU_MEM, DT / TAU_SYN


class Spike(torch.autograd.Function):
    """Slope 1 / (alpha |u| + 1)^2, of peak 1."""

    @staticmethod
    def forward(ctx, u, alpha):
        ctx.save_for_backward(u)
        ctx.alpha = alpha
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient / (ctx.alpha * u.abs() + 1) ** 2, None


def inject(model, seen):
    return model + (seen - model).detach()


def equations(x, *, leaky, tau_ref, alpha, spiking=True, leak=0.0, reset=0.0, seen=None):
    """Spikes (None for an integrator) and membranes of currents x [time, batch, neuron]."""
    v = torch.full_like(x[0], leak if leaky else reset)
    i, r = torch.zeros_like(v), torch.zeros_like(v)
    spikes, membranes = [], []
    for t, now in enumerate(x):
        v = v + A * ((leak - v + i) if leaky else i)
        i = i * (1 - B) + now
        if seen is not None:
            v = inject(v, seen[1][t])
        if spiking:
            z = Spike.apply(v - 1.0, alpha)
            if seen is not None:
                z = inject(z, seen[0][t])
            else:
                fired = z.detach()
                v = (1 - fired) * v + fired * reset
                held = (r > 0).to(v.dtype)
                v = (1 - held) * v + held * reset
                z = (1 - held) * z
                r = (1 - z.detach()) * (r - held).relu() + z.detach() * tau_ref / DT
            spikes.append(z)
        membranes.append(v)
    return torch.stack(spikes) if spikes else None, torch.stack(membranes)


def neurons(kind, tau_ref, alpha):
    common = {
        "dt": DT,
        "tau_mem": TAU_MEM,
        "tau_syn": TAU_SYN,
        "tau_ref": tau_ref,
        "threshold": 1.0,
        "reset": -0.2,
        "detach_reset": True,
        "recurrent": False,
        "surrogate": SuperSpike(slope=alpha),
    }
    if kind == "lif":
        return partial(
            CubaLIF, leak=0.1, method="euler", normalized=True, gradient="surrogate", **common
        )
    return partial(CubaIAF, **common)


READOUT = partial(
    CubaLI, dt=DT, tau_mem=TAU_MEM, tau_syn=TAU_SYN, leak=0.0, method="euler", normalized=True
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [50.0, 150.0])
@pytest.mark.parametrize("tau_ref", [0.0, 3e-6])
@pytest.mark.parametrize("kind", ["lif", "iaf"])
def test_networks_agree_in_spikes_traces_and_weight_gradients(kind, tau_ref, alpha, dtype):
    """5-20-3 over 40 steps: spikes the same, traces within 1e-6, gradients to rounding."""
    torch.manual_seed(0)
    network = Network(
        num_inputs=5,
        num_outputs=3,
        dt=DT,
        backend=ideal("auto"),
        hidden_sizes=[20],
        neuron=neurons(kind, tau_ref, alpha),
        readout=READOUT,
        init=Normal(mean=[4.0, 0.0], std=[2.0, 0.3], fan_in_scaled=True),  # traces below 1
    ).to(dtype)
    x = (torch.rand(40, 7, 5) < 0.2).to(dtype)
    activity, _ = network(Dense(x), record_membrane=True)
    target = torch.randn(7, 3, dtype=dtype)
    (activity.readout.membrane.amax(0) * target).sum().backward()

    hidden, readout = (
        weight.detach().clone().requires_grad_() for weight in network.weights().values()
    )
    leak = 0.1 if kind == "lif" else 0.0
    z, v = equations(
        x @ hidden.T, leaky=kind == "lif", tau_ref=tau_ref, alpha=alpha, leak=leak, reset=-0.2
    )
    _, trace = equations(z @ readout.T, leaky=True, tau_ref=0.0, alpha=alpha, spiking=False)
    (trace.amax(0) * target).sum().backward()

    assert z.sum() > 100
    assert torch.equal(activity.layers["hidden1"].spikes, z)
    for found, expected in (
        (activity.layers["hidden1"].membrane, v),
        (activity.readout.membrane, trace),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for found, expected in zip(network.weights().values(), (hidden, readout), strict=True):
        relative = (found.grad - expected.grad).norm() / expected.grad.norm()
        # in single precision a rounding of u changes the surrogate by 2 alpha times as much
        assert relative < (2 * alpha * 2.4e-7 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("alpha", [50.0, 150.0])
@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
def test_injection_sends_measurements_forward_and_the_models_gradient_back(kernel, alpha):
    """No software reset, so that no spike cuts the path; the measured membrane goes on."""
    generator = torch.Generator().manual_seed(1)
    shape = (40, 6, 9)
    x, weighting, seen_v = (
        torch.randn(shape, generator=generator, dtype=torch.double) for _ in range(3)
    )
    seen = ((torch.rand(shape, generator=generator) < 0.2).double(), seen_v)
    to_spikes = torch.randn(shape, generator=generator, dtype=torch.double)
    neuron = neurons("lif", 0.0, alpha)(size=9)
    gradients = []
    for own in (True, False):
        current = x.clone().requires_grad_()
        if own:
            found = scan(
                current, neuron.constants, membrane=True, measured=Measured(*seen), kernel=kernel
            )
            z, v = found.spikes, found.membrane
        else:
            z, v = equations(
                current, leaky=True, tau_ref=0.0, alpha=alpha, leak=0.1, reset=-0.2, seen=seen
            )
        torch.testing.assert_close(z, seen[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(v, seen[1], rtol=0, atol=1e-12)
        ((z * to_spikes).sum() + (v * weighting).sum()).backward()
        gradients.append(current.grad)
    assert (gradients[0] - gradients[1]).norm() < 1e-12 * gradients[1].norm()
