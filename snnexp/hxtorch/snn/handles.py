"""What modules hand each other: tensors [time, batch, neuron] that a run fills in."""

from typing import Any, ClassVar

from torch import Tensor


class Handle:
    """Named tensors, None until a run has put them; `observable` is the one that is sent on."""

    names: ClassVar[tuple[str, ...]]
    observable: ClassVar[str]

    def __init__(self, *values: Tensor | None, **named: Tensor | None):
        self.clear()
        self.put(*values, **named)

    def put(self, *values: Tensor | None, **named: Tensor | None) -> None:
        """Set the tensors in the order of `names`, or by name."""
        if len(values) > len(self.names):
            raise TypeError(f"{type(self).__name__}: it holds {', '.join(self.names)}, no more")
        for name, value in [*zip(self.names, values, strict=False), *named.items()]:
            if name not in self.names:
                raise TypeError(f"{type(self).__name__}: it holds {', '.join(self.names)}")
            setattr(self, name, value)

    def clear(self) -> None:
        """Forget every tensor."""
        for name in self.names:
            setattr(self, name, None)

    def holds(self, name: str) -> bool:
        """Whether the tensor of that name is there."""
        return getattr(self, name, None) is not None

    @property
    def observable_state(self) -> Tensor | None:
        """The tensor that is sent on."""
        return getattr(self, self.observable)

    @property
    def observable_state_identifier(self) -> str:
        """Its name."""
        return self.observable

    def __getattr__(self, name: str) -> Any:  # for type checkers: names are set in `clear`
        raise AttributeError(f"{type(self).__name__} has no {name!r}")


class NeuronHandle(Handle):
    """Of neurons that spike; v_cadc is their membrane after its reset."""

    names = ("spikes", "v_cadc", "current", "v_madc")
    observable = "spikes"


class ReadoutNeuronHandle(Handle):
    """Of integrators."""

    names = ("v_cadc", "current", "v_madc")
    observable = "v_cadc"


class SynapseHandle(Handle):
    """What spikes add to the synaptic current."""

    names = ("graded_spikes",)
    observable = "graded_spikes"
