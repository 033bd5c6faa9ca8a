"""Yin-Yang by exact gradients of spike times, from Python.

    python examples/eventprop_yinyang.py

The same as `python train.py experiment=yinyang_eventprop`, and then a look at the network: hidden
neurons have no surrogate gradient; a weight is changed by what it does to the times of spikes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

import snnexp


def main(argv: Sequence[str] | None = None) -> float:
    """Train; the accuracy on the validation points in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--points", type=int, default=5000, help="for training")
    parser.add_argument("--folder", type=Path, help="of the run; default: outputs/...")
    chosen = parser.parse_args(argv)
    result = snnexp.run(
        [
            "experiment=yinyang_eventprop",
            "test=false",
            f"trainer.max_epochs={chosen.epochs}",
            f"dataset.sizes.train={chosen.points}",
        ],
        folder=chosen.folder,
    )
    classifier = snnexp.load(result.folder)
    neuron = classifier.network.layers["hidden1"].neuron
    values = torch.tensor([[0.25, 0.5, 0.75, 0.5]])
    print(f"exact gradients: {neuron.constants.exact}")
    print(f"scores of the left dot's centre: {classifier(values)[0].tolist()}")
    reached = 100 * result.metrics["val/accuracy"]
    print(f"accuracy, validation  {reached:.2f} %, in {result.folder}")
    return reached


if __name__ == "__main__":
    main()
