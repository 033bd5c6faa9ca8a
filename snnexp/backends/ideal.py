"""The ideal backend: floats as they stand, on the CPU or a GPU."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from snnexp import kernels
from snnexp.activity import LayerActivity
from snnexp.checks import require, require_choice, require_whole
from snnexp.inputs import Current, Dense, Inputs, Train
from snnexp.kernels import KERNELS, Scan, State
from snnexp.models.layer import Layer
from snnexp.models.neuron import Neuron


class Ideal:
    """Runs a network in floats; the one place that sets accelerator, precision and devices.

    device: `auto` (a GPU if there is one), `cpu`, or `gpu` (CUDA, else Apple's MPS).
    precision: as Lightning names it. devices: how many of them. kernel: the loop over time, see
    `snnexp.kernels.scan`. segment, checkpoint_every: see `snnexp.models.layer.Backend`.
    Raises ValueError for `gpu` where there is none.
    """

    segment: int | None = 500
    trials = 1
    replays = False
    takes_values = True
    """Whether an input may be values instead of spikes."""

    def __init__(
        self,
        *,
        device: str,
        precision: str,
        devices: int,
        kernel: str,
        checkpoint_every: int | None,
    ):
        require_choice(("auto", "cpu", "gpu"), device=device)
        require_choice(("32-true", "64-true", "16-mixed", "bf16-mixed"), precision=precision)
        (self.devices,) = require_whole(1, devices=devices)
        (self.kernel,) = require_choice(KERNELS, kernel=kernel)
        if checkpoint_every is not None:
            require_whole(1, checkpoint_every=checkpoint_every)
        self.checkpoint_every = checkpoint_every
        mps = "mps" if torch.backends.mps.is_available() else None
        gpu = "cuda" if torch.cuda.is_available() else mps
        require(
            device != "gpu" or gpu is not None,
            "device: 'gpu', but neither CUDA nor MPS is there; choose backend=auto or backend=cpu",
        )
        self.accelerator = gpu if device != "cpu" and gpu else "cpu"
        self.precision = precision

    def trainer_settings(self) -> dict[str, Any]:
        """Keyword arguments for Lightning's Trainer."""
        return {
            "accelerator": self.accelerator,
            "precision": self.precision,
            "devices": self.devices,
        }

    def prepare(self, layers: Mapping[str, Layer]) -> None:
        """Every network can be run."""

    def begin(self, seed: int, epoch: int, purpose: str, device: torch.device) -> None:
        """Nothing is drawn."""

    def choose(self, trial: int | None) -> None:
        """Every trial is the same."""

    def deviations(self, accuracies: list[float]) -> dict[str, Any]:
        """There is none."""
        return {}

    def describe(self, seconds: float) -> dict[str, Any]:
        """What a summary says of the device."""
        return {}

    def layer(
        self,
        layer: Layer,
        inputs: Inputs | Train,
        state: State | None,
        membrane: bool,
        margin: bool,
    ) -> tuple[LayerActivity, State]:
        """The synapse's current, normalized if it is to be, through the neurons."""
        current = layer.synapse(inputs, self.weight(layer.weight))
        if layer.norm is not None:
            current = layer.norm(kernels.at_least_float32(kernels.whole(current)))
        steps = inputs.num_steps - layer.synapse.reach
        scan = self.scan(layer.neuron, current, steps, state, membrane, margin)
        trace = None if scan.membrane is None else self.trace(scan.membrane)
        train = scan.spikes
        if isinstance(train, Tensor):
            train = Dense(train, counted=scan.counts)
        return LayerActivity(train, trace, scan.margin), scan.state

    def delayed(self, sent: Inputs | Train, arrived: Dense, seconds: Tensor) -> Dense:
        """On the grid."""
        return arrived

    def weight(self, weight: Tensor) -> Tensor:
        """The weight as it stands."""
        return weight

    def scan(
        self,
        neuron: Neuron,
        current: Current,
        steps: int,
        state: State | None,
        membrane: bool,
        margin: bool,
    ) -> Scan:
        """The neuron model as it stands."""
        recurrent = None if neuron.recurrent is None else self.weight(neuron.recurrent)
        if neuron.constants is None or type(neuron).scan is not Neuron.scan:
            whole = kernels.at_least_float32(kernels.whole(current)).expand(steps, -1, -1)
            return neuron.scan(whole, recurrent, state, membrane, margin)
        return kernels.scan(
            current,
            neuron.constants,
            recurrent,
            state,
            steps=steps,
            membrane=membrane,
            margin=margin,
            kernel=self.kernel,
        )

    def trace(self, membrane: Tensor) -> Tensor:
        """The membrane as it stands."""
        return membrane


class CudaGraphs(Ideal):
    """`Ideal` on one NVIDIA GPU, where a training step is recorded once and replayed.

    What the network, decoder, loss and regularizers do becomes two graphs, one forward and one
    backward (`snnexp.graphs.Replay`); encoding, callbacks and the optimizer stay as they are.
    precision, kernel: see `Ideal`. Raises ValueError where there is no such GPU.
    """

    replays = True

    def __init__(self, *, precision: str, kernel: str):
        require(
            torch.cuda.is_available(),
            "CUDA graphs take an NVIDIA GPU, and there is none; choose backend=auto or backend=cpu",
        )
        super().__init__(
            device="gpu", precision=precision, devices=1, kernel=kernel, checkpoint_every=None
        )
