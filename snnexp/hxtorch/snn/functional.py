"""The neurons' updates, as functions of graded spikes [time, batch, neuron].

They are `snnexp.models.CubaLIF` (method `euler`, normalised), `CubaLI` and `CubaIAF`, by the scans
of `snnexp.kernels`. hw_data, what a chip measured as (spikes, membrane) or (membrane,), goes
forward, the model's gradient back; a membrane of None is the model's.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional

from snnexp import kernels
from snnexp.kernels import Measured, NeuronParameters
from snnexp.models import CubaIAF, CubaLI, CubaLIF, SuperSpike


@dataclass(frozen=True)
class CUBALIParams:
    """Of an integrator; inverse time constants in Hz, voltages without unit."""

    tau_mem_inv: float
    tau_syn_inv: float
    v_leak: float = 0.0


@dataclass(frozen=True)
class CUBALIFParams:
    """Of a leaky integrate-and-fire neuron; tau_ref in s, alpha is SuperSpike's slope."""

    tau_mem_inv: float
    tau_syn_inv: float
    tau_ref: float = 0.0
    v_leak: float = 0.0
    v_th: float = 1.0
    v_reset: float = 0.0
    alpha: float = 50.0
    method: str = "superspike"


@dataclass(frozen=True)
class CUBAIAFParams:
    """Of an integrate-and-fire neuron, without a leak."""

    tau_mem_inv: float
    tau_syn_inv: float
    tau_ref: float = 0.0
    v_th: float = 1.0
    v_reset: float = 0.0
    alpha: float = 50.0
    method: str = "superspike"


Measurement = tuple[Tensor | None, ...] | None


def cuba_lif_integration(
    input: Tensor, params: CUBALIFParams, hw_data: Measurement = None, dt: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, membrane and current of leaky integrate-and-fire neurons; tau_ref is ignored."""
    return _spiking(input, lif_parameters(params, dt), hw_data)


def cuba_iaf_integration(
    input: Tensor, params: CUBAIAFParams, hw_data: Measurement = None, dt: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, membrane and current of integrate-and-fire neurons; tau_ref is ignored."""
    return _spiking(input, iaf_parameters(params, dt, 0.0), hw_data)


def cuba_refractory_iaf_integration(
    input: Tensor, params: CUBAIAFParams, hw_data: Measurement = None, dt: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, held at v_reset for ceil(tau_ref / dt) steps after a spike."""
    return _spiking(input, iaf_parameters(params, dt, float(params.tau_ref)), hw_data)


def cuba_li_integration(
    input: Tensor, params: CUBALIParams, hw_data: Measurement = None, dt: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """Membrane and current of integrators."""
    input, measured = _measured(input, None if hw_data is None else (None, *hw_data))
    scan = kernels.scan(input, li_parameters(params, dt), synaptic=True, measured=measured)
    assert scan.membrane is not None and scan.synaptic is not None
    return scan.membrane, scan.synaptic


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Graded spikes [time, batch, neuron] of spikes through `weight` [neuron, channel]."""
    return functional.linear(input, weight, bias)


def input_neuron(input: Tensor) -> Tensor:
    """The spikes as they are."""
    return input


def batch_dropout(input: Tensor, mask: Tensor) -> Tensor:
    """Spikes of the neurons whose `mask` [neuron] is not 0."""
    return input * mask


def LIF(*inputs: Tensor) -> NoReturn:
    """Stands for a choice that was not made."""
    raise NotImplementedError("func: name the neurons' update, such as func=cuba_lif_integration")


LI = IAF = LIF


@lru_cache
def lif_parameters(params: CUBALIFParams, dt: float) -> NeuronParameters:
    """As scans take them."""
    neuron = CubaLIF(
        size=1,
        dt=dt,
        tau_mem=1 / float(params.tau_mem_inv),
        tau_syn=1 / float(params.tau_syn_inv),
        tau_ref=0.0,
        threshold=float(params.v_th),
        leak=float(params.v_leak),
        reset=float(params.v_reset),
        method="euler",
        normalized=True,
        gradient="surrogate",
        detach_reset=True,
        recurrent=False,
        surrogate=_surrogate(params),
    )
    assert neuron.constants is not None
    return neuron.constants


@lru_cache
def iaf_parameters(params: CUBAIAFParams, dt: float, tau_ref: float) -> NeuronParameters:
    """As scans take them."""
    neuron = CubaIAF(
        size=1,
        dt=dt,
        tau_mem=1 / float(params.tau_mem_inv),
        tau_syn=1 / float(params.tau_syn_inv),
        tau_ref=tau_ref,
        threshold=float(params.v_th),
        reset=float(params.v_reset),
        detach_reset=True,
        recurrent=False,
        surrogate=_surrogate(params),
    )
    assert neuron.constants is not None
    return neuron.constants


@lru_cache
def li_parameters(params: CUBALIParams, dt: float) -> NeuronParameters:
    """As scans take them."""
    neuron = CubaLI(
        size=1,
        dt=dt,
        tau_mem=1 / float(params.tau_mem_inv),
        tau_syn=1 / float(params.tau_syn_inv),
        leak=float(params.v_leak),
        method="euler",
        normalized=True,
    )
    assert neuron.constants is not None
    return neuron.constants


def _surrogate(params: CUBALIFParams | CUBAIAFParams) -> SuperSpike:
    if params.method != "superspike":
        raise NotImplementedError(f"method: {params.method!r}; hxtorch has 'superspike' alone")
    return SuperSpike(slope=float(params.alpha))


def _spiking(
    input: Tensor, parameters: NeuronParameters, hw_data: Measurement
) -> tuple[Tensor, Tensor, Tensor]:
    input, measured = _measured(input, hw_data)
    scan = kernels.scan(input, parameters, membrane=True, synaptic=True, measured=measured).dense()
    assert isinstance(scan.spikes, Tensor) and scan.membrane is not None
    assert scan.synaptic is not None
    return scan.spikes, scan.membrane, scan.synaptic


def _measured(input: Tensor, hw_data: Measurement) -> tuple[Tensor, Measured | None]:
    """The input of the steps that were measured too, and what was."""
    if hw_data is None or all(part is None for part in hw_data[:2]):
        return input, None
    spikes, membrane = (*hw_data, None)[:2]
    steps = min(len(part) for part in (input, spikes, membrane) if part is not None)
    input = input[:steps]
    spikes = torch.zeros_like(input) if spikes is None else spikes[:steps].to(input.dtype)
    membrane = None if membrane is None else membrane[:steps].to(input.dtype)
    return input, Measured(spikes, membrane)
