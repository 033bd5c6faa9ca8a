"""What does not fit the chip is refused before a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from snnexp.backends.resources import CIRCUITS, INPUTS
from snnexp.checks import require

if TYPE_CHECKING:
    from snnexp.hxtorch.snn.base import HXModule
    from snnexp.hxtorch.snn.handles import Handle
    from snnexp.hxtorch.snn.neurons import Population


def refuse_misfit(modules: Mapping[HXModule, list[Handle]]) -> None:
    """Raise for populations that find no place on the chip, and inputs that are no spikes."""
    from snnexp.hxtorch.snn.base import Synapse
    from snnexp.hxtorch.snn.neurons import Population

    made = {module.output_handle: module for module in modules}
    neurons = [module for module in modules if isinstance(module, Population)]
    if sum(neuron.enable_madc_recording for neuron in neurons) > 1:
        raise RuntimeError("enable_madc_recording: the chip has one such converter; record once")
    if any(neuron.enable_madc_recording for neuron in neurons):
        raise NotImplementedError("enable_madc_recording: it is not emulated; read v_cadc")
    for neuron in neurons:
        synapses = [made.get(handle) for handle in modules[neuron]]
        for synapse in synapses:
            if not isinstance(synapse, Synapse):
                raise TypeError(f"{type(neuron).__name__}: on the chip a Synapse drives it")
            (source,) = modules[synapse]
            require(
                synapse.out_features == neuron.size,
                f"{type(neuron).__name__}: size={neuron.size}, but out_features="
                f"{synapse.out_features} of the Synapse that drives it",
            )
            require(
                source.observable == "spikes",
                "Synapse: its input does not spike; on the chip nothing but spikes is sent",
            )
        circuits = neuron.neuron_structure.size
        inputs = sum(synapse.in_features for synapse in synapses if isinstance(synapse, Synapse))
        require(
            inputs <= INPUTS * circuits,
            f"{type(neuron).__name__}: {inputs} signed inputs, but its {circuits} circuits have "
            f"{INPUTS * circuits}; give it a larger neuron_structure, or fewer inputs",
        )
    _require_recording(modules, made)
    _place(neurons)


def _require_recording(
    modules: Mapping[HXModule, list[Handle]], made: Mapping[Handle, HXModule]
) -> None:
    """Spikes that the model reads were recorded: their gradient goes through the record."""
    from snnexp.hxtorch.snn.neurons import Neuron

    for module, handles in modules.items():
        for source in map(made.get, handles):
            require(
                not isinstance(source, Neuron) or source.enable_spike_recording,
                f"enable_spike_recording: False, but {type(module).__name__} reads the spikes",
            )


def _place(neurons: list[Population]) -> None:
    taken = set()
    free = CIRCUITS
    for neuron in neurons:
        free -= neuron.size * neuron.neuron_structure.size
        for place in neuron.placement_constraint or ():
            circuits = neuron.neuron_structure.size
            require(
                len(place.atomic_neurons) == circuits,
                f"placement_constraint: {place} has {len(place.atomic_neurons)} circuits, but "
                f"neuron_structure {circuits}; give both the same structure",
            )
            for circuit in place.atomic_neurons:
                require(circuit not in taken, f"placement_constraint: {circuit} is taken already")
                taken.add(circuit)
    require(free >= 0, f"size: no free circuit; the chip has {CIRCUITS}, {-free} too few")
