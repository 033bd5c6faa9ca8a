"""The chip itself: circuits that differ, run on a grid finer than the model's.

It needs no network: `Population.run` takes a current on the fine grid, and `Converter` and `Spikes`
read what it did on the model's grid. All of it is without gradients.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp import kernels
from snnexp.checks import require, require_choice, require_positive, require_whole
from snnexp.inputs import Current, Dense, Events, Inputs, Train
from snnexp.kernels import NeuronParameters, Packed, State
from snnexp.kernels.surrogates import SuperSpike
from snnexp.models.cuba import dead_steps
from snnexp.models.neuron import Circuit

LIMIT = 63
"""Of a synapse's weight: 6 bits, and a sign that its row has."""


def nearest(values: Tensor) -> Tensor:
    """Whole numbers, half away from zero."""
    return (values.abs() + 0.5).floor() * values.sign()


class Preset:
    """How much of the ideal a chip loses; all 0 and None: nothing.

    Shares are of a neuron's swing, threshold - leak (of 1 for a neuron without a threshold):
    threshold_mean, threshold_std, leak_std, reset_std by circuit, threshold_run_std by circuit and
    run, membrane_noise by circuit and time step of the model. Relative standard deviations by
    circuit: gain_std (of its synapses), tau_mem_std, tau_syn_std. jitter: standard deviation of a
    spike's time on its way, in s. weight_bits: 6 and a sign, or None for floats. adc_bits: 8, or
    None for membranes as they are at the steps of the model's grid; adc_offset_std by circuit and
    adc_noise by sample, in LSB.
    """

    def __init__(
        self,
        *,
        name: str,
        weight_bits: int | None,
        threshold_mean: float,
        threshold_std: float,
        threshold_run_std: float,
        leak_std: float,
        reset_std: float,
        gain_std: float,
        tau_mem_std: float,
        tau_syn_std: float,
        membrane_noise: float,
        jitter: float,
        adc_bits: int | None,
        adc_offset_std: float,
        adc_noise: float,
    ):
        spreads = {
            "threshold_std": threshold_std,
            "threshold_run_std": threshold_run_std,
            "leak_std": leak_std,
            "reset_std": reset_std,
            "gain_std": gain_std,
            "tau_mem_std": tau_mem_std,
            "tau_syn_std": tau_syn_std,
            "membrane_noise": membrane_noise,
            "jitter": jitter,
            "adc_offset_std": adc_offset_std,
            "adc_noise": adc_noise,
        }
        for key, value in spreads.items():
            require(value >= 0 and math.isfinite(value), f"{key}: {value!r}; it must be 0 or above")
        require(threshold_mean > -1, f"threshold_mean: {threshold_mean!r}; it must be above -1")
        require(
            weight_bits in (6, None), f"weight_bits: {weight_bits!r}; the chip has 6, or give null"
        )
        if adc_bits is not None:
            require_whole(1, adc_bits=adc_bits)
        self.name, self.weight_bits, self.adc_bits = name, weight_bits, adc_bits
        self.threshold_mean, self.threshold_std = threshold_mean, threshold_std
        self.threshold_run_std, self.leak_std, self.reset_std = (
            threshold_run_std,
            leak_std,
            reset_std,
        )
        self.gain_std, self.tau_mem_std, self.tau_syn_std = gain_std, tau_mem_std, tau_syn_std
        self.membrane_noise, self.jitter = membrane_noise, jitter
        self.adc_offset_std, self.adc_noise = adc_offset_std, adc_noise


@dataclass(frozen=True)
class Grid:
    """`steps` of `dt`, in s, each of which is emulated in `substeps`."""

    steps: int
    dt: float
    substeps: int

    @property
    def h(self) -> float:
        """The emulation's step, in s."""
        return self.dt / self.substeps

    @property
    def fine(self) -> int:
        """The emulation's number of steps."""
        return self.steps * self.substeps


class Population:
    """`size` circuits of one chip, all calibrated to the same neuron; drawn once by `draw`.

    gain: of all synapses, see `psp_ratio`. device: where they are emulated; None: where they are
    drawn. In each emulated step of h the exact solution of `Circuit`'s equations,
    w(t + h) = leak + b (v(t) - leak) + g i(t), i(t + h) = a i(t), in each circuit's own numbers;
    then spike, reset and refractory time as in `NeuronParameters`.
    """

    def __init__(
        self,
        circuit: Circuit,
        size: int,
        preset: Preset,
        gain: float,
        draw: torch.Generator,
        device: torch.device | None = None,
    ):
        def spread(std: float) -> Tensor:  # a parameter's draws do not depend on other spreads
            each = std * torch.randn(size, generator=draw, device=draw.device)
            return each.to(device or draw.device)

        self.circuit, self.size, self.preset = circuit, size, preset
        self.swing = 1.0 if circuit.threshold is None else circuit.threshold - circuit.leak
        self.threshold = preset.threshold_mean + spread(preset.threshold_std)
        self.leak = circuit.leak + self.swing * spread(preset.leak_std)
        self.reset = circuit.reset + self.swing * spread(preset.reset_std)
        self.gain = gain * (1 + spread(preset.gain_std)).clamp(min=0)
        self.tau_mem = circuit.tau_mem * (1 + spread(preset.tau_mem_std)).clamp(min=LEAST)
        self.tau_syn = circuit.tau_syn * (1 + spread(preset.tau_syn_std)).clamp(min=LEAST)
        self.adc_offset = spread(preset.adc_offset_std)

    def parameters(self, h: float, noise: torch.Generator) -> NeuronParameters:
        """The update of a step of h, in s, in a run whose noise is drawn from `noise`."""
        keep_mem, keep_syn, gain = flow(self.tau_mem, self.tau_syn, self.circuit.leaky, h)
        rest = self.leak if self.circuit.leaky else self.reset
        common = {
            "keep_mem": keep_mem,
            "keep_syn": keep_syn,
            "gain": gain * self.gain,
            "drift": (1 - keep_mem) * self.leak,
            "delayed": True,
            "rest": rest,
        }
        if self.circuit.threshold is None:
            return NeuronParameters(**common)
        run = self.preset.threshold_run_std
        each = self.threshold + run * torch.randn(self.size, generator=noise, device=noise.device)
        return NeuronParameters(
            **common,
            threshold=self.circuit.leak + self.swing * (1 + each),
            to=self.reset,
            hard=True,
            refractory_steps=dead_steps(self.circuit.tau_ref, h),
            surrogate=SuperSpike(slope=1.0),  # no gradient is asked for
        )

    @torch.no_grad()
    def run(
        self,
        current: Current,
        recurrent: Tensor | None,
        state: State | None,
        grid: Grid,
        noise: torch.Generator,
        kernel: str = "auto",
    ) -> kernels.Scan:
        """Membranes and spikes on the fine grid, [fine step, batch, neuron].

        current: what events add to i, on the fine grid. recurrent: [to, from]. noise: of this run.
        """
        p = self.parameters(grid.h, noise)
        if self.preset.membrane_noise:
            current = self._with_noise(kernels.whole(current), p, grid.substeps, noise)
        return kernels.scan(
            current, p, recurrent, state, steps=grid.fine, membrane=True, kernel=kernel
        )

    def _with_noise(
        self, current: Tensor, p: NeuronParameters, every: int, noise: torch.Generator
    ) -> Tensor:
        """With what moves the membrane, and nothing else, by a normal number once a model step."""
        current = current.clone()
        kicks = current[::every]
        size = self.preset.membrane_noise * self.swing / p.gain
        kick = size * torch.randn(kicks.shape, generator=noise, device=noise.device)
        current[::every] += kick
        later = current[1::every]
        later -= p.keep_syn * kick[: len(later)]  # the synaptic current forgets it
        return current


LEAST = 0.1
"""The least share of a time constant that a draw leaves."""


def flow(tau_mem: Tensor, tau_syn: Tensor, leaky: bool, h: float) -> tuple[Tensor, Tensor, Tensor]:
    """b, a and g of the exact solution over h, in s, see `Population`; equal taus included."""
    rate = h / tau_mem if leaky else torch.zeros_like(tau_mem)
    difference = rate - h / tau_syn
    small = difference.abs() < 1e-4
    safe = torch.where(small, torch.ones_like(difference), difference)
    ratio = torch.where(small, 1 + difference / 2, torch.expm1(safe) / safe)
    return torch.exp(-rate), torch.exp(-h / tau_syn), torch.exp(-rate) * (h / tau_mem) * ratio


@lru_cache(maxsize=64)
def psp_ratio(constants: NeuronParameters, circuit: Circuit, grid: Grid) -> float:
    """The model's postsynaptic potential over the continuous one's, at their highest.

    On the chip the scale of weights is measured by just this comparison.
    """
    tau_mem, tau_syn = torch.tensor([[circuit.tau_mem], [circuit.tau_syn]], dtype=torch.double)
    keep_mem, keep_syn, gain = flow(tau_mem, tau_syn, circuit.leaky, grid.h)
    fine = NeuronParameters(keep_mem=keep_mem, keep_syn=keep_syn, gain=gain, delayed=True)
    model = NeuronParameters(
        keep_mem=constants.keep_mem,
        keep_syn=constants.keep_syn,
        gain=constants.gain,
        delayed=constants.delayed,
    )
    steps = 10 * math.ceil((circuit.tau_mem + circuit.tau_syn) / grid.dt)
    return _peak(model, steps) / _peak(fine, steps * grid.substeps)


def _peak(p: NeuronParameters, steps: int) -> float:
    current = torch.zeros(steps, 1, 1, dtype=torch.double)
    current[0] = 1
    membrane = kernels.scan(current, p, kernel="reference").membrane
    assert membrane is not None
    return float(membrane.max())


class Converter:
    """The chip's converter of membranes (CADC): sampled, saturating, of whole numbers.

    period: between samples, in s. leak: of the membrane's leak, in LSB of an unsigned converter.
    trace_scale: voltage of an LSB, 1 / (threshold - leak) in LSB. interpolation: `linear` between
    the samples around a step of the grid, or `nearest`, a tie to the later one; before the first
    sample its value, after the last it is held. time_shift: by how many steps the trace is moved
    to earlier ones, its last row repeated; negative to later ones, its first repeated.
    shift_to_first: the trace's first row is subtracted from it instead of `leak`.
    """

    def __init__(
        self,
        *,
        period: float,
        leak: float,
        trace_scale: float,
        interpolation: str,
        time_shift: int,
        shift_to_first: bool,
    ):
        self.period, self.trace_scale = require_positive("", period=period, trace_scale=trace_scale)
        require_choice(("linear", "nearest"), interpolation=interpolation)
        self.leak, self.interpolation = leak, interpolation
        self.time_shift, self.shift_to_first = time_shift, shift_to_first

    def read(
        self,
        membrane: Float[Tensor, "fine batch neuron"],
        population: Population,
        grid: Grid,
        noise: torch.Generator,
    ) -> Float[Tensor, "time batch neuron"]:
        """The trace on the model's grid, in the model's voltages."""
        preset = population.preset
        if preset.adc_bits is None:
            return membrane[:: grid.substeps].clone()
        times, rows = _samples(self.period, grid, membrane.device)
        limit, leak = 2 ** (preset.adc_bits - 1), population.circuit.leak
        raw = membrane.index_select(0, rows)  # a copy, of which the rest is made in place
        raw.sub_(leak).div_(self.trace_scale).add_(population.adc_offset + self.leak - limit)
        if preset.adc_noise:
            raw += preset.adc_noise * torch.randn(raw.shape, generator=noise, device=noise.device)
        trace = self.on_grid(raw.round_().clamp_(-limit, limit - 1), times, grid)
        offset = trace[:1].clone() if self.shift_to_first else self.leak - limit
        return trace.sub_(offset).mul_(self.trace_scale).add_(leak)

    def on_grid(self, samples: Tensor, times: Tensor, grid: Grid) -> Tensor:
        """Samples [sample, ...] at `times`, in s, as a trace [time, ...], shifted."""
        steps = torch.arange(grid.steps, dtype=torch.double) * grid.dt
        low = (torch.searchsorted(times, steps, right=True) - 1).clamp(min=0)
        high = (low + 1).clamp(max=len(times) - 1)
        gap = (times[high] - times[low]).clamp(min=1e-30)
        share = ((steps - times[low]) / gap).clamp(0, 1)
        if self.interpolation == "nearest":
            share = (share >= 0.5).double()
        share = torch.where(high > low, share, 0.0).to(samples)[:, None, None]
        low, high = low.to(samples.device), high.to(samples.device)
        trace = samples.index_select(0, low).mul_(1 - share)
        trace.add_(samples.index_select(0, high).mul_(share))
        order = (torch.arange(grid.steps) + self.time_shift).clamp(0, grid.steps - 1)
        return trace[order.to(samples.device)] if self.time_shift else trace


@lru_cache(maxsize=64)
def _samples(period: float, grid: Grid, device: torch.device) -> tuple[Tensor, Tensor]:
    """The converter's times, in s, and the fine steps nearest to them."""
    with torch.inference_mode(False):  # they outlive the evaluation that may have asked first
        count = math.floor((grid.fine - 1) * grid.h / period) + 1
        times = torch.arange(count, dtype=torch.double) * period
        return times, (times / grid.h).round().long().clamp(max=grid.fine - 1).to(device)


@dataclass(frozen=True)
class Spikes(Dense):
    """Spikes as the chip has them: `sent`, events on the fine grid, and binned to the model's."""

    sent: Events

    @classmethod
    def of_grid(cls, inputs: Inputs | Train, grid: Grid) -> "Spikes":
        """Unit events at the steps of the model's grid, wherever something is not 0."""
        spikes = (inputs.dense() != 0).float()
        return cls(spikes, _events(spikes.nonzero(), grid.substeps, 0, grid, spikes.shape))

    @classmethod
    def measured(
        cls, fine: Tensor | Packed, grid: Grid, jitter: float, noise: torch.Generator
    ) -> "Spikes":
        """Of the fine grid [fine step, batch, neuron]; on their way they get `jitter`, in s.

        A spike falls on step round(t / dt) of the model's grid; those of one step count once.
        """
        found = fine.events() if isinstance(fine, Packed) else fine.nonzero()
        shape = fine.counts.shape if isinstance(fine, Packed) else fine.shape[1:]
        step, sample, channel = found.unbind(1)
        near = (step + grid.substeps // 2) // grid.substeps
        binned = torch.zeros(grid.steps + 1, *shape, device=found.device)
        binned[near, sample, channel] = 1.0
        shift: Tensor | int = 0
        if jitter:
            way = torch.randn(len(found), generator=noise, device=noise.device)
            within = torch.rand(len(found), generator=noise, device=noise.device)
            shift = (within - 0.5 + jitter / grid.h * way).round().long()
        return cls(binned[:-1], _events(found, 1, shift, grid, torch.Size((grid.fine, *shape))))

    def later(self, spikes: Tensor, seconds: Tensor, grid: Grid) -> "Spikes":
        """Arriving `seconds` [channel] later; spikes: so on the model's grid."""
        shift = (seconds.detach() / grid.h).round().long()[self.sent.channel.long()]
        found = torch.stack([self.sent.step, self.sent.sample, self.sent.channel], 1).long()
        shape = torch.Size((grid.fine, self.batch_size, self.num_channels))
        return Spikes(spikes, _events(found, 1, shift, grid, shape))


def _events(
    found: Tensor, every: int, shift: Tensor | int, grid: Grid, shape: torch.Size
) -> Events:
    """Entries (step, sample, channel), `shift` fine steps later; what leaves the grid is lost."""
    step, sample, channel = found.unbind(1)
    step = step * every + shift
    if isinstance(shift, Tensor):
        step = step.clamp(min=0)
        stays = step < grid.fine
        step, sample, channel = step[stays], sample[stays], channel[stays]
    return Events(step.int(), sample.int(), channel.int(), grid.fine, shape[1], shape[2])
