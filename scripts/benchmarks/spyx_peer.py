# pyright: reportMissingImports=false
"""The workloads in Spyx: one jitted training step, a scan of JAX over time, Adam of Optax."""

from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.workloads import CUBA_DECAY, CUBA_SLOPE, DECAY, SLOPE, Step, Workload


def training(work: Workload) -> Step:
    """The training step; the readout integrates, since Spyx' LIF gives its spikes alone."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx
    from spyx import nn as spiking

    steps = jnp.asarray(np.stack([part.numpy() for part in work.dense]))
    labels = jnp.asarray(np.random.default_rng(0).integers(work.sizes[-1], size=steps.shape[1]))
    model = _network(work)
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

    def scores(trace: Any) -> Any:
        if work.spiking_readout:  # of every step
            return trace.reshape(-1, trace.shape[-1])
        return trace.max(0) if work.cuba else trace.sum(0)

    @nnx.jit
    def train(model: Any, optimizer: Any) -> Any:
        def loss(model: Any) -> Any:
            found = scores(spiking.run(model, steps)[0])
            wanted = jnp.tile(labels, len(found) // len(labels))
            each = optax.softmax_cross_entropy_with_integer_labels(found, wanted)
            return each.mean() * len(found) / len(labels)

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    return lambda: jax.block_until_ready(train(model, optimizer))


def _network(work: Workload) -> Any:
    from flax import nnx
    from spyx import axn
    from spyx import nn as spiking

    rngs, layers = nnx.Rngs(0), []
    pairs = list(pairwise(work.sizes))
    for index, (fan_in, size) in enumerate(pairs):
        layers.append(nnx.Linear(fan_in, size, use_bias=False, rngs=rngs))
        spike = axn.superspike(CUBA_SLOPE) if work.cuba else axn.arctan(SLOPE)
        settings = {"activation": spike, "rngs": rngs}
        if index == len(pairs) - 1:
            layers.append(spiking.LI((size,), beta=DECAY, rngs=rngs))
        elif work.cuba:
            layers.append(spiking.CuBaLIF((size,), alpha=CUBA_DECAY, beta=CUBA_DECAY, **settings))
        elif work.recurrent:
            layers.append(spiking.RLIF((size,), beta=DECAY, **settings))
        else:
            layers.append(spiking.LIF((size,), beta=DECAY, **settings))
    return spiking.Sequential(*layers)
