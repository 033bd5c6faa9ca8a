"""Dense synapses whose connections have delays of their own, learnt ones or several fixed ones."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from snnexp import kernels
from snnexp.checks import require, require_between, require_positive, require_whole
from snnexp.inputs import Inputs, Train
from snnexp.models.delays import Within
from snnexp.models.synapses import Linear, Synapse


class DelayedLinear(Linear):
    """x_n(t) = sum_c W_nc sum_k g_nc(k) z_c(t - k): dense connections with learnt delays.

    In training g is a Gaussian over the steps k = 0, 1, ... up to `longest`, round the delay d_nc,
    of sum 1: g(k) = exp(-(k - d)^2 / 2 w^2) / sum. Its width w is that of all, and falls from
    widths[0] to widths[1] (s), exponentially over the first share `narrowing` of the epochs; then
    it stays. In evaluation g is 1 at round(d) and 0 else, so that whole spikes arrive at one step.
    After Hammouamri, Khalfaoui-Hassani & Masquelier 2023 (DCLS). Learnt is a delay's share of
    `longest` (s), drawn from U(0, 1), as in `LearntDelay`: at an end of the range a gradient that
    points outwards is dropped. What would arrive behind the last step is lost.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        dt: float,
        longest: float,
        widths: Sequence[float],
        narrowing: float,
    ):
        super().__init__(input_shape=input_shape, num_outputs=num_outputs)
        self.dt, self.longest = require_positive("s", dt=dt, longest=longest)
        require(
            len(widths) == 2 and widths[0] >= widths[1],
            f"widths: {list(widths)!r} s; give the first and the last, which must not be wider",
        )
        require_positive("s", **{f"widths[{i}]": width for i, width in enumerate(widths)})
        (self.narrowing,) = require_between(0, 1, narrowing=narrowing)
        self.widths = widths
        self._narrow: Tensor
        self.register_buffer("_narrow", torch.zeros(()), persistent=False)
        self.width = widths[0]
        self.reach = round(longest / dt)
        self.share = nn.Parameter(torch.rand(num_outputs, *input_shape))

    def proceed(self, done: float) -> None:
        first, last = self.widths
        fallen = 1.0 if done >= self.narrowing else done / self.narrowing
        self.width = first * (last / first) ** fallen

    @property
    def width(self) -> float:
        """The present width, in s."""
        return self._width

    @width.setter
    def width(self, width: float) -> None:
        self._width = width
        self._narrow.fill_(self.dt / width / math.sqrt(2))  # where a recorded step reads it

    @property
    def seconds(self) -> Float[Tensor, "neuron channel"]:  # type: ignore[override]
        """The delays, before rounding to the grid."""
        return self.longest * Within.apply(self.share)

    def kernel(self) -> Float[Tensor, "step neuron channel"]:
        """What of a spike arrives after 0, 1, ... steps."""
        delay = self.seconds / self.dt
        steps = torch.arange(self.reach + 1, device=delay.device)[:, None, None]
        if not self.training:
            whole = delay.round().clamp(max=self.reach)  # half a step may be rounded up to one more
            return (steps == whole).to(delay.dtype)
        return torch.softmax(-(((steps - delay) * self._narrow) ** 2), 0)

    def forward(self, inputs: Inputs | Train, weight: Float[Tensor, "neuron channel"]) -> Tensor:
        """The current of the steps behind the first `reach`, which are the past."""
        return kernels.convolve(inputs.dense().to(weight.dtype), self.kernel() * weight)


class TappedLinear(Synapse):
    """x_n(t) = sum_c sum_k W_nck z_c(t - k spacing): dense connections through delay lines.

    Each connection has `taps` synapses, k = 0, 1, ... `taps` - 1, with a weight each: the terminals
    of Bohte, Kok & La Poutre 2002, and a convolution over time. spacing: the delay from one to the
    next in s, a whole number of steps. What would arrive behind the last step is lost.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        dt: float,
        taps: int,
        spacing: float,
    ):
        require_whole(1, num_outputs=num_outputs, taps=taps)
        require(
            len(input_shape) == 1,
            f"input_shape: {tuple(input_shape)}, but TappedLinear takes channels, not images",
        )
        require_positive("s", dt=dt, spacing=spacing)
        self.apart = round(spacing / dt)
        """Steps from one tap to the next."""
        require(
            self.apart >= 1 and math.isclose(self.apart * dt, spacing, rel_tol=1e-6),
            f"spacing: {spacing!r} s is no whole number of steps of {dt!r} s; take a multiple of "
            "time.dt",
        )
        super().__init__(input_shape, (num_outputs,))
        self.reach = (taps - 1) * self.apart
        self.weight = nn.Parameter(torch.zeros(num_outputs, input_shape[0], taps))

    def transform(self, values: Tensor, weight: Tensor | None) -> Tensor:
        """What all steps together cause."""
        assert weight is not None
        return functional.linear(values, weight.sum(2))

    def forward(
        self, inputs: Inputs | Train, weight: Float[Tensor, "neuron channel tap"]
    ) -> Tensor:
        """The current of the steps behind the first `reach`, which are the past."""
        kernel = weight.new_zeros(self.reach + 1, *weight.shape[:2])
        kernel[:: self.apart] = weight.permute(2, 0, 1)
        return kernels.convolve(inputs.dense().to(weight.dtype), kernel)
