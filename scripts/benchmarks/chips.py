"""The emulated chip in the loop against the model in floats, on the same batch.

`experiment=yinyang_bss2`, 5-120-3 with 5 channels an input, 30 steps of 2 us, batch 75: at level
`chip` with the published noise against level `reference`. The batch is encoded beforehand.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import torch

from benchmarks.workloads import Step, train
from snnexp import experiment, session


def measure(pairs: int, compare: Callable[[Step, Step, int], dict[str, Any]]) -> list[Any]:
    """One row: milliseconds of both levels, and their ratio over interleaved pairs."""
    found = compare(_training("chip"), _training("reference"), pairs)
    return [{"workload": "chip: 5-120-3, in the loop", "kernel": "auto", **found}]


def _training(level: str) -> Step:
    cfg = session.compose(["experiment=yinyang_bss2", f"backend.level={level}"])
    dataset, classifier, _ = experiment.build(cfg)
    values, labels = next(iter(dataset.loader("train", cfg.batch_size, seed=cfg.seed)))
    inputs = classifier.encoder(values.float(), torch.Generator())
    network, batches = classifier.network.train(), count()

    def loss() -> torch.Tensor:
        network.backend.begin(cfg.seed, 0, f"train/0/{next(batches)}", values.device)
        activity, _ = network(inputs)
        return classifier.loss(activity, classifier.decoder(activity), labels)

    return train(network, loss, fused=True)
