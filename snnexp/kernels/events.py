"""Projection of events, one row of weights an event, compiled by numba.

Cheap where few channels spike; the dense product costs the same for silence.
"""

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor


def project(rows: Tensor, channel: Tensor, num_rows: int, weight: Tensor) -> Tensor:
    """[row, neuron]: for each event the weights of its channel, added to its row.

    rows, channel: int64, one entry an event, on the CPU. weight: [neuron, channel].
    """
    return _Project.apply(rows, channel, num_rows, weight)  # type: ignore[return-value]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, channel: Tensor, num_rows: int, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, channel)
        ctx.num_channels = weight.shape[1]
        onto = weight.detach().t().contiguous()
        out = weight.new_empty(num_rows, weight.shape[0])
        start, order = _group(rows.numpy(), num_rows)
        _gather(start, order, channel.numpy(), onto.numpy(), out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        rows, channel = ctx.saved_tensors
        upstream = given[0].contiguous()
        out = upstream.new_empty(ctx.num_channels, upstream.shape[1])
        start, order = _group(channel.numpy(), ctx.num_channels)
        _gather(start, order, rows.numpy(), upstream.numpy(), out.numpy())
        return None, None, None, out.t()


@njit(cache=True)
def _group(key: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each key's events begin in the order by key, and that order: a counting sort."""
    start = np.zeros(count + 1, np.int64)
    for event in range(len(key)):
        start[key[event] + 1] += 1
    for index in range(count):
        start[index + 1] += start[index]
    place = start[:-1].copy()
    order = np.empty(len(key), np.int64)
    for event in range(len(key)):
        order[place[key[event]]] = event
        place[key[event]] += 1
    return start, order


@njit(cache=True, parallel=True)
def _gather(start, order, source, table, out):
    """out[k] = sum of table[source[e]] over the events e of key k."""
    for k in prange(len(out)):
        total = out[k]
        total[:] = 0
        for index in range(start[k], start[k + 1]):
            line = table[source[order[index]]]
            for n in range(len(total)):
                total[n] += line[n]
