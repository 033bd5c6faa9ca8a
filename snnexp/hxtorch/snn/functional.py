"""The neurons' updates, as functions of graded spikes [time, batch, neuron].

They are `snnexp.models.CubaLIF` (method `euler`, normalised), `CubaLI` and `CubaIAF`, by the scans
of `snnexp.kernels`. hw_data, what a chip measured as (spikes, membrane) or (membrane,), goes
forward, the model's gradient back; a membrane of None is the model's.
"""

from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional

from snnexp import kernels
from snnexp.hxtorch.snn.parameters import (
    CUBAIAFParams,
    CUBALIFParams,
    CUBALIParams,
    iaf_parameters,
    li_parameters,
    lif_parameters,
)
from snnexp.kernels import Measured, NeuronParameters

Measurement = tuple[Tensor | None, ...] | None


def cuba_lif_integration(
    input: Tensor, params: CUBALIFParams, hw_data: Measurement = None, dt: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, membrane and current of leaky integrate-and-fire neurons; tau_ref is ignored."""
    return _spiking(input, lif_parameters(params, dt), hw_data)


def EventPropLIFFunction(
    input: Tensor, params: CUBALIFParams, hw_data: Measurement = None, dt: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """`cuba_lif_integration` with exact gradients, through the times of spikes (EventProp).

    Any synapse may lie before and behind it; `alpha` counts for nothing.
    """
    return _spiking(input, lif_parameters(params, dt, "eventprop"), hw_data)


def EventPropSynapseFunction(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear`; with the neurons above its gradients are EventProp's, without a second part."""
    return linear(input, weight, bias)


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
