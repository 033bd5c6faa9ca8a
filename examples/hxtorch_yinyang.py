"""Yin-Yang through hxtorch's interface, in floats or on the emulated chip.

    python examples/hxtorch_yinyang.py                 # floats, as hxtorch's mock
    python examples/hxtorch_yinyang.py --chip          # the emulated BrainScaleS-2

5-120-3 neurons on 30 steps of 2 us, each input repeated five times since the chip's weights are
bounded; the highest membrane of an output is its class' score. Training points have the published
seed 42, test points seed 40. --late in us: values become spikes up to then; at 45 the steps of x
and of 1 - x lie between each other, so that together they say more of x than at the tutorial's 40.
"""

import argparse
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from snnexp.hxtorch import init_hardware, release_hardware, snn
from snnexp.hxtorch.snn import functional as F
from snnexp.hxtorch.snn.datasets.yinyang import YinYangDataset
from snnexp.hxtorch.snn.transforms.decode import MaxOverTime
from snnexp.hxtorch.snn.transforms.encode import CoordinatesToSpikes
from snnexp.hxtorch.snn.transforms.weight_transforms import linear_saturating

DT, STEPS, TAU = 2e-6, 30, 6e-6  # s
HIDDEN, CLASSES, CHANNELS, REPETITIONS = 120, 3, 5, 5


class Model(torch.nn.Module):
    """Values [batch, 4] to scores [batch, class]."""

    def __init__(self, mock: bool, late: float):
        super().__init__()
        experiment = self.experiment = snn.Experiment(mock=mock, dt=DT)
        scaled = partial(linear_saturating, scale=66.39)
        trace = {"trace_scale": 0.0147, "cadc_time_shift": 0, "shift_cadc_to_first": True}
        self.encoder = CoordinatesToSpikes(STEPS, 2e-6, late, dt=DT, t_bias=18e-6)
        self.to_hidden = snn.Synapse(CHANNELS * REPETITIONS, HIDDEN, experiment, transform=scaled)
        self.hidden = snn.Neuron(
            HIDDEN,
            experiment,
            func=F.cuba_lif_integration,
            params=F.CUBALIFParams(1 / TAU, 1 / TAU, alpha=50.0),
            **trace,
        )
        self.to_readout = snn.Synapse(HIDDEN, CLASSES, experiment, transform=scaled)
        self.readout = snn.ReadoutNeuron(
            CLASSES,
            experiment,
            func=F.cuba_li_integration,
            params=F.CUBALIParams(1 / TAU, 1 / TAU),
            **trace,
        )
        self.decoder = MaxOverTime()
        first = torch.empty(HIDDEN, CHANNELS).normal_(0.001, 0.25)
        self.to_hidden.weight.data = first.repeat(1, REPETITIONS)
        torch.nn.init.normal_(self.to_readout.weight, 0.0, 0.1)

    def forward(self, values: Tensor) -> Tensor:
        spikes = self.encoder(values).repeat(1, 1, REPETITIONS)
        hidden = self.hidden(self.to_hidden(snn.NeuronHandle(spikes)))
        traces = self.readout(self.to_readout(hidden))
        snn.run(self.experiment, STEPS)
        return self.decoder(traces.v_cadc)


def loss_of(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of ten times the scores, whose gradient stays that of the scores."""
    scaled = scores + (9 * scores).detach()
    return torch.nn.functional.cross_entropy(scaled, labels) + 4e-4 * scaled.square().mean()


@torch.no_grad()
def accuracy(model: Model, points: YinYangDataset) -> float:
    """In percent."""
    values, labels = next(iter(DataLoader(points, batch_size=len(points))))
    return 100 * (model(values).argmax(1) == labels).float().mean().item()


def main(argv: Sequence[str] | None = None) -> float:
    """Train; the accuracy on the test points in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--chip", action="store_true", help="the emulated chip, not floats")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--points", type=int, default=5000, help="for training")
    parser.add_argument("--late", type=float, default=45.0, help="us")
    parser.add_argument("--seed", type=int, default=42)
    chosen = parser.parse_args(argv)
    torch.manual_seed(chosen.seed)
    init_hardware()
    model = Model(not chosen.chip, chosen.late * 1e-6)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.9)
    batches = DataLoader(YinYangDataset(size=chosen.points, seed=42), batch_size=75, shuffle=True)
    for epoch in range(1, chosen.epochs + 1):
        total = 0.0
        for values, labels in batches:
            optimizer.zero_grad()
            loss = loss_of(model(values), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() / len(batches)
        scheduler.step()
        print(f"epoch {epoch}/{chosen.epochs}  loss {total:.4f}")
    reached = accuracy(model, YinYangDataset(size=1000, seed=40))
    release_hardware()
    print(f"accuracy, test  {reached:.2f} %")
    return reached


if __name__ == "__main__":
    main()
