"""The figures of BrainScaleS-2's Yin-Yang tutorial, as files.

    python examples/hxtorch_figures.py                 # into the present folder

data.png, encoding.png and training.png; the last is drawn from what a training tells on its way,
here the example beside this one with a few points.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from snnexp.figures import plot_data, plot_input_encoding, plot_training
from snnexp.hxtorch import snn
from snnexp.hxtorch.snn import functional as F
from snnexp.hxtorch.snn.datasets.yinyang import YinYangDataset
from snnexp.hxtorch.snn.transforms.encode import CoordinatesToSpikes

DT, STEPS, EARLY, LATE, BIAS, TAU = 2e-6, 30, 2e-6, 40e-6, 18e-6, 6e-6  # s
HIDDEN = 30


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Draw; the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--epochs", type=int, default=3)
    chosen = parser.parse_args(argv)
    torch.manual_seed(0)
    batches = DataLoader(YinYangDataset(size=300, seed=42), batch_size=100)
    values, labels = next(iter(batches))
    encoder = CoordinatesToSpikes(STEPS, EARLY, LATE, dt=DT, t_bias=BIAS)
    spikes = encoder(values[:1])[:, 0]
    figures = {
        "data": plot_data(values[0], values, labels),
        "encoding": plot_input_encoding(spikes, EARLY, LATE, BIAS, STEPS * DT, DT),
        "training": train(batches, encoder, chosen.epochs),
    }
    files = []
    for name, figure in figures.items():
        files.append(chosen.folder / f"{name}.png")
        figure.savefig(files[-1])
    return files


def train(batches, encoder, epochs):
    """The figure of a training of 5-30-3 in floats, tested on its own first batch."""
    experiment = snn.Experiment(mock=True, dt=DT)
    first, second = snn.Synapse(5, HIDDEN, experiment), snn.Synapse(HIDDEN, 3, experiment)
    lif, li = F.CUBALIFParams(1 / TAU, 1 / TAU), F.CUBALIParams(1 / TAU, 1 / TAU)
    hidden = snn.Neuron(HIDDEN, experiment, func=F.cuba_lif_integration, params=lif)
    readout = snn.ReadoutNeuron(3, experiment, func=F.cuba_li_integration, params=li)
    first.reset_parameters(1.0, 1.0)
    parameters = [*first.parameters(), *second.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    update, update_train, update_test = plot_training(HIDDEN, STEPS * DT, DT)

    def told(values, labels):
        """Input spikes, hidden spikes, traces and scores; loss, accuracy in percent and rate."""
        inputs = encoder(values)
        inner = hidden(first(snn.NeuronHandle(inputs)))
        outer = readout(second(inner))
        snn.run(experiment, STEPS)
        scores = outer.v_cadc.amax(0)
        loss = torch.nn.functional.cross_entropy(10 * scores, labels)
        right = 100 * (scores.argmax(1) == labels).float().mean().item()
        rate = inner.spikes.sum().item() / len(labels)
        return (inputs, inner.spikes, outer.v_cadc, scores), loss, right, rate

    for epoch in range(epochs + 1):
        values, labels = next(iter(batches))
        shown, loss, right, rate = told(values, labels)
        update_test(*shown[:3], values, labels, shown[3], loss.item(), right, rate)
        for values, labels in batches if epoch < epochs else ():
            _, loss, right, rate = told(values, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            update_train(len(batches), loss.item(), right, rate)
    return update()


if __name__ == "__main__":
    main()
