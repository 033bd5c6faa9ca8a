"""The neurons' parameters by hxtorch's names, and as the scans of `snnexp.kernels` take them."""

from dataclasses import dataclass
from functools import lru_cache

from snnexp.kernels import NeuronParameters
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


@lru_cache
def lif_parameters(
    params: CUBALIFParams, dt: float, gradient: str = "surrogate"
) -> NeuronParameters:
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
        gradient=gradient,
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
