"""On a GPU the host waits for nothing in a step: shown on torch's meta device, which has no values.

What would have to be read there cannot be run there, and a copy that waits is seen on its way.
"""

from contextlib import nullcontext
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from snnexp import classifier, config
from snnexp.backends import Ideal
from snnexp.errors import ConfigError
from snnexp.experiment import build
from snnexp.gradients import AdaptiveClipping, Centralize
from snnexp.kernels import dispatch, operators
from snnexp.randomness import generator
from snnexp.session import compose
from tests.test_options import (
    FEW,
    IMAGES,
    PAIRS,
    STEPS,
    experiments,
    fewer,
    found,
    narrow,
    select,
    small,
)

CLIPPING = {"share": 0.01, "least": 1e-3}
META = torch.device("meta")
SCATTERS = (torch.ops.aten.scatter_, torch.ops.aten.scatter, torch.ops.aten.scatter_add_)
FACTORIES = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)


class Copies(TorchDispatchMode):
    """Refuses operators that take tensors of the host beside the device's, or wait for a copy.

    As a deterministic scatter of tensors does on a GPU: torch copies strides from the host in it.
    Counts those that it let through to the device.
    """

    def __init__(self):
        super().__init__()
        self.passed = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = [a for a in torch.utils._pytree.tree_leaves(args) if isinstance(a, torch.Tensor)]
        is_copy = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        host = [a for a in given if a.device != META and (a.ndim > 0 or is_copy)]
        is_there = isinstance(out, torch.Tensor) and out.device == META
        waits = not (kwargs or {}).get("non_blocking")
        assert not (host and is_there and waits), f"{func} takes {host} from the host"
        scatters = func.overloadpacket in SCATTERS and isinstance(args[3], torch.Tensor)
        assert not scatters, f"{func} waits for a copy, being deterministic"
        self.passed += is_there
        return out


class Constants(TorchFunctionMode):
    """Refuses constants that are made on the host and copied."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in FACTORIES and out.device == META:
            assert args[0] is out, f"{func.__name__}{args} is copied from the host"
        return out


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Triton's kernels are chosen; meta tensors have no autocast, and draw from the host's."""
    monkeypatch.setattr(dispatch, "_asks_for_triton", lambda _, c: dispatch._like(c).is_meta)
    monkeypatch.setattr(dispatch, "_lacking_triton", lambda *_: None)
    for operator in (operators.scan, operators.scan_backward):
        monkeypatch.setattr(operator, "direct", operator.registered)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    monkeypatch.setattr(classifier, "generator", lambda *key: generator(*key[:3]))


def run_steps(cfg):
    """How many operators were looked at, by the end of validation and by that of training.

    Two steps of each, of which the first fills caches.
    """
    try:
        config.check(cfg)
        dataset, model, _ = build(cfg)
    except ConfigError as error:
        pytest.skip(f"refused: {error}")
    if type(model.network.backend) is not Ideal:
        pytest.skip("the emulated chip draws on its device, and there are no draws on this one")
    model.to(META)
    model.trainer = SimpleNamespace(global_step=1, current_epoch=0, global_rank=0)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    optimizer = torch.optim.SGD(model.network.parameters(), lr=0.1)
    clips = [Centralize(over="inputs"), Centralize(over="outputs"), AdaptiveClipping(**CLIPPING)]
    copies, passed = Copies(), []
    for stage, mode in (("val", torch.inference_mode), ("train", torch.enable_grad)):
        split = dataset.splits[stage].to(META)
        loader = dataset.loader(stage, cfg.batch_size, seed=0, split=split)
        batches = chain(loader, loader)  # there may be only one
        for index in range(2):
            with (
                Constants() if index else nullcontext(),
                copies if index else nullcontext(),
                mode(),
            ):
                batch = next(batches)
                if stage == "val":
                    model.validation_step(batch, index)
                    continue
                model.training_step(batch, index).backward()
                for callback in clips:
                    callback.on_before_optimizer_step(trainer, model, optimizer)
                model.on_before_optimizer_step(optimizer)
                optimizer.step()
                model.network.constrain()
        passed.append(copies.passed)
    return passed


def nothing_waits(cfg):
    """A step that waits raises; whether both kinds were looked at."""
    evaluated, both = run_steps(cfg)
    return 0 < evaluated < both


@pytest.mark.parametrize(("model", "dataset"), PAIRS)
def test_no_model_waits(model, dataset):
    assert nothing_waits(small(dataset, f"model={model}", "batch_size=5"))


@pytest.mark.parametrize("experiment", experiments())
def test_no_experiment_waits(experiment):
    chosen = [f"experiment={experiment}", "batch_size=20"]
    assert nothing_waits(compose([*chosen, *fewer(compose(chosen).dataset)]))


@pytest.mark.parametrize("model", ["lif", "conv_lif"])
@pytest.mark.parametrize(("group", "option"), found(*(g for g in STEPS if g != "backend")))
def test_no_option_waits(group, option, model):
    dataset = "ones" if model in IMAGES else "yinyang"
    choice = (f"model={model}", *select(group, option, model))
    assert nothing_waits(small(dataset, *FEW, *narrow(model, 6), *choice))


def test_first_spikes_do_not_wait():
    """A deterministic scatter, as behind a decoder that gathers them, would."""
    spiking = ("model=lif", "model/readout=lif", "decoder=first_spike", "loss=first_spike")
    assert nothing_waits(small("yinyang", *spiking, "batch_size=5"))
