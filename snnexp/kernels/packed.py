"""Binary spikes as bits, which gradients pass all the same."""

from dataclasses import dataclass

import torch
from torch import Tensor

from snnexp.kernels import operators
from snnexp.kernels.projection import Current, Projection


@dataclass(frozen=True)
class Packed:
    """Binary spikes [time, batch, neuron] at one bit each, in one or more segments of time.

    words: of each segment int64 [time, batch, word]; bit n % 64 of word n // 64 is neuron n.
    links: of each segment a float tensor [time, batch, neuron] through which gradients of the
    spikes go; it has no memory of its own and its values mean nothing.
    counts: spikes by sample and neuron, [batch, neuron], differentiable.
    """

    words: tuple[Tensor, ...]
    links: tuple[Tensor, ...]
    counts: Tensor

    @property
    def num_steps(self) -> int:
        return sum(len(words) for words in self.words)

    @property
    def batch_size(self) -> int:
        return self.counts.shape[0]

    @property
    def num_channels(self) -> int:
        return self.counts.shape[1]

    def dense(self) -> Tensor:
        """[time, batch, neuron] as floats, differentiable; made anew at each call."""
        pairs = zip(self.words, self.links, strict=True)
        parts = [operators.unpack(words, link) for words, link in pairs]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def events(self) -> Tensor:
        """(step, sample, neuron) of each spike, int64 [event, 3], by step and sample."""
        words = self.words[0] if len(self.words) == 1 else torch.cat(self.words)
        places = words.nonzero()
        bits = torch.arange(64, device=words.device)
        row, bit = ((words[tuple(places.t())][:, None] >> bits) & 1).nonzero(as_tuple=True)
        step, sample, word = places[row].unbind(1)
        return torch.stack([step, sample, word * 64 + bit], 1)

    def last(self) -> Tensor:
        """The last step's spikes as floats, [batch, neuron], differentiable."""
        return operators.unpack(self.words[-1][-1:], self.links[-1][-1:])[0]

    def project(self, weight: Tensor) -> Current:
        """The current [time, batch, neuron] that the spikes cause through weight [neuron, channel].

        By adding a row of weights a spike, or by one matrix product where many spike.
        """
        total = self.num_steps * self.counts.numel()
        if float(self.counts.detach().numpy().sum()) > operators.SPARSE * total:
            return torch.nn.functional.linear(self.dense(), weight)
        parts = [
            Projection(words, None, link, weight, len(words), self.batch_size)
            for words, link in zip(self.words, self.links, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat([part.tensor() for part in parts])

    def to(self, device: torch.device | str) -> "Packed":
        """The same record on `device`."""
        links = tuple(link[:1, :1, :1].to(device).expand(link.shape) for link in self.links)
        words = tuple(words.to(device) for words in self.words)
        return Packed(words, links, self.counts.to(device))


def join(parts: list[Packed]) -> Packed:
    """Consecutive segments of time as one."""
    words = tuple(words for part in parts for words in part.words)
    links = tuple(link for part in parts for link in part.links)
    return Packed(words, links, torch.stack([part.counts for part in parts]).sum(0))
