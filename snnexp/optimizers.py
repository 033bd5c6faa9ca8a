"""Optimizers that torch does not have, and parameters in groups with settings of their own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snnexp.checks import require, require_between
from snnexp.models import Network


def grouped(network: Network, groups: Mapping[str, Mapping[str, Any]]) -> Iterable[Any]:
    """A network's parameters as an optimizer takes them: all others first, then each group.

    groups: by kind (see `Network.kinds`) what differs from the optimizer's settings.
    Raises ValueError for a kind of which the network has none.
    """
    if not groups:
        return network.parameters()
    kinds = network.kinds()
    there = [kind for kind, parameters in kinds.items() if parameters]
    for kind in groups:
        require(
            kind in there,
            f"optimizer.groups.{kind}: this network has none; it has {', '.join(there)}. Leave the "
            "group out, or choose a model that has them",
        )
    others = [p for kind, parameters in kinds.items() if kind not in groups for p in parameters]
    own = [{"params": kinds[kind], "name": kind, **groups[kind]} for kind in groups]
    return [{"params": others}, *own] if others else own


class Lion(torch.optim.Optimizer):
    """Evolved sign momentum (Chen et al. 2023, algorithm 2).

    w <- w - lr (sign(b1 m + (1 - b1) g) + weight_decay w), then m <- b2 m + (1 - b2) g.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: Sequence[float],
        weight_decay: float,
    ):
        require(len(betas) == 2, f"betas: {betas!r}; give two")
        require_between(0, 1, **{f"betas[{i}]": beta for i, beta in enumerate(betas)})
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; `closure` computes the loss again, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"]
        direction = torch.lerp(gradient, momentum, first).sign_()
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
        momentum.lerp_(gradient, 1 - second)
