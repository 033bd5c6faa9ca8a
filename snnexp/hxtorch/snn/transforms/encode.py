"""Values to spikes."""

import torch
from torch import Tensor


class CoordinatesToSpikes(torch.nn.Module):
    """One spike a coordinate in [0, 1], the higher the later, and a bias channel at `t_bias`.

    t = t_early + x (t_late - t_early), on step round(t / dt), ties to even; the bias on step
    int(t_bias / dt). Times in s. [batch, coordinate] to [seq_length, batch, channel].
    Raises ValueError for a spike that would fall off the grid.
    """

    def __init__(
        self,
        seq_length: int,
        t_early: float,
        t_late: float,
        dt: float = 1e-6,
        t_bias: float | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self._seq_length, self._dt, self._dev = seq_length, dt, device
        self._t_early, self._t_late, self._t_bias = t_early, t_late, t_bias

    def forward(self, coordinates: Tensor) -> Tensor:
        time = self._t_early + coordinates * (self._t_late - self._t_early)
        step = (time / self._dt).round().long()
        if self._t_bias is not None:
            bias = torch.full_like(step[:, :1], int(self._t_bias / self._dt))
            step = torch.cat([step, bias], dim=1)
        if step.numel() and (step.min() < 0 or step.max() >= self._seq_length):
            raise ValueError(
                f"coordinates: a spike on step {int(step.min())} to {int(step.max())} of "
                f"{self._seq_length}; give values in [0, 1], or raise seq_length"
            )
        spikes = torch.zeros(self._seq_length, *step.shape, device=step.device)
        spikes.scatter_(0, step[None], 1.0)
        return spikes.to(self._dev) if self._dev is not None else spikes
