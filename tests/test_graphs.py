"""Recorded steps, with a stand-in for CUDA's graphs: it records torch's operators on the CPU.

As on a GPU, a replay repeats them on the same memory, and what the host knew stays as it was.
"""

import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch.autograd.graph import get_gradient_edge
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from snnexp import config
from snnexp.backends import Ideal
from snnexp.encoders import Latency
from snnexp.errors import ConfigError
from snnexp.experiment import build
from snnexp.kernels import dispatch, operators
from snnexp.session import compose
from tests.test_benchmark import SCRIPTS
from tests.test_gradients import with_a_scaler
from tests.test_options import (
    FEW,
    IMAGES,
    OPTIONS,
    STEPS,
    experiments,
    fewer,
    found,
    narrow,
    select,
    small,
)

UNKNOWN = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Of what the host must know before it can go on."""


class Record(TorchDispatchMode):
    """The operators that run within, to be repeated on the tensors that they had and made."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not UNKNOWN & set(func.tags), f"the host waits for {func}"
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)
    def replay(self):
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@pytest.fixture
def graphs(monkeypatch):
    """Counts replays of the CPU's graphs, where dense spikes go through torch's loop."""
    count = SimpleNamespace(replays=0, alive=weakref.WeakSet())

    class Graph(Record):
        def __init__(self):
            super().__init__()
            count.alive.add(self)

        def replay(self):
            count.replays += 1
            super().replay()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **_: graph)
    monkeypatch.setattr(torch.cuda, "Stream", object)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda.graphs, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(Latency, "__call__", lambda self, x, _: self._grid(*self._steps(x)))
    monkeypatch.setattr(dispatch, "_lack", lambda *_: "on a GPU it is not looked for")
    for operator in (operators.scan, operators.scan_backward):
        monkeypatch.setattr(operator, "direct", operator.registered)
    return count


def steps(cfg):
    """Losses, decisions, weights and buffers of three steps, the last in the second epoch."""
    config.check(cfg)
    torch.manual_seed(0)
    dataset, model, _ = build(cfg)
    model.trainer = trainer = SimpleNamespace(global_step=0, current_epoch=0, global_rank=0)
    model.on_train_start()
    optimizer = model.optimizer(model.network.parameters())
    batches = list(dataset.loader("train", cfg.batch_size, seed=0))
    whole = [batch for batch in batches if len(batch[1]) == len(batches[0][1])]
    for step, batch in enumerate((whole[0], whole[-1], whole[0])):
        trainer.global_step, trainer.current_epoch = step, step // 2
        model.network.proceed(trainer.current_epoch / 2)
        optimizer.zero_grad()
        model.training_step(batch, step).backward()
        optimizer.step()
        model.network.constrain()
    numbers = [tensor for losses, correct, _ in model._batches for tensor in (losses, correct)]
    return [*numbers, *(t.detach() for t in model.network.state_dict().values())]


def assert_replays_train_alike(cfg, graphs, monkeypatch):
    """Down to the bit."""
    try:
        eager = steps(cfg)
    except ConfigError as error:
        pytest.skip(f"refused: {error}")
    monkeypatch.setattr(Ideal, "replays", True)
    replayed = steps(cfg)
    assert graphs.replays == 2 * 2  # forward and backward
    for one, other in zip(eager, replayed, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("experiment", experiments())
def test_experiments_replay(experiment, graphs, monkeypatch):
    chosen = [f"experiment={experiment}", "batch_size=20", "backend=cpu"]
    assert_replays_train_alike(
        compose([*chosen, *fewer(compose(chosen).dataset)]), graphs, monkeypatch
    )


@pytest.mark.parametrize("model", OPTIONS["model"])
def test_models_replay(model, graphs, monkeypatch):
    dataset = "ones" if model in IMAGES else "yinyang"
    cfg = small(dataset, f"model={model}", *narrow(model, 6), "batch_size=5")
    assert_replays_train_alike(cfg, graphs, monkeypatch)


@pytest.mark.parametrize(
    ("group", "option"), found(*(g for g in STEPS if not g.startswith("backend")))
)
def test_options_replay(group, option, graphs, monkeypatch):
    choice = ("model=lif", *select(group, option, "lif"))
    cfg = small("yinyang", *FEW, *narrow("lif", 6), *choice)
    assert_replays_train_alike(cfg, graphs, monkeypatch)


@pytest.mark.parametrize(
    ("precision", "model"),
    [("32-true", "adlif"), ("bf16-mixed", "dcls_delays"), ("scaled", "adlif")],
)
def test_runs_with_a_smaller_last_batch_end_alike(precision, model, train, graphs, monkeypatch):
    """Three epochs of 8, 8 and 4 samples, of which all steps but the first are replayed.

    Nothing is left of the records behind the training.
    """
    if precision == "scaled":
        monkeypatch.setattr(MixedPrecision, "__init__", with_a_scaler)
        precision = "bf16-mixed"
    chosen = (
        *("backend=cpu", "encoder=poisson", f"model={model}", "model.dropout=0.2"),
        *(f"backend.precision={precision}", "trainer.max_epochs=3"),
        *("callback=[centralize]", "trainer.gradient_clip_val=0.1"),
    )
    numbers = {}
    for replays in (False, True):
        monkeypatch.setattr(Ideal, "replays", replays)
        result = train(*chosen, folder=str(replays))
        assert not graphs.alive
        named = ("train/loss", "train/accuracy", "train/gradient", "val/", "test/")
        numbers[replays] = {k: v for k, v in result.metrics.items() if k.startswith(named)}
    assert graphs.replays == 2 * 8
    assert numbers[True] == numbers[False]


def test_events_are_not_recorded(train, monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", None)
    plain = train("backend=cpu", folder="plain").metrics
    monkeypatch.setattr(Ideal, "replays", True)
    replayed = train("backend=cpu", folder="replayed").metrics
    assert replayed["train/loss"] == plain["train/loss"]


def test_the_benchmarks_steps_are_replayed(graphs, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import workloads

    step = workloads.ours("W3", "torch", graphs=True)
    for _ in range(3):
        step()
    assert graphs.replays == 2 * 3


@pytest.mark.parametrize(
    ("key", "alone", "other"), [("accumulate_grad_batches", 1, 2), ("strategy", "auto", "ddp")]
)
def test_what_does_not_go_with_a_record_is_refused(key, alone, other, monkeypatch):
    monkeypatch.setattr(Ideal, "replays", True)
    build(small("yinyang", f"+trainer.{key}={alone}"))
    with pytest.raises(ConfigError, match=rf"^trainer\.{key}: {other!r}, .*choose backend=gpu"):
        build(small("yinyang", f"+trainer.{key}={other}"))


@pytest.mark.parametrize("replays", [False, True])
@pytest.mark.parametrize("model", OPTIONS["model"])
def test_a_step_leaves_no_node_of_a_parameter_behind(model, replays, request, monkeypatch):
    """CUDA refuses to record steps with nodes that are known from before."""
    if replays:
        request.getfixturevalue("graphs")
        monkeypatch.setattr(Ideal, "replays", True)
    dataset = "ones" if model in IMAGES else "yinyang"
    cfg = small(dataset, f"model={model}", *narrow(model, 6), "batch_size=5")
    dataset, classifier, _ = build(cfg)
    classifier.trainer = SimpleNamespace(global_step=1, current_epoch=0, global_rank=0)
    classifier.on_train_start()
    loss = classifier.training_step(next(iter(dataset.loader("train", 5, seed=0))), 0)
    parameters = dict(classifier.network.named_parameters())
    for parameter in parameters.values():
        get_gradient_edge(parameter).node.metadata["seen"] = True
    loss.backward()
    del loss
    left = [n for n, p in parameters.items() if "seen" in get_gradient_edge(p).node.metadata]
    assert left == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"^backend: CUDA graphs .*choose backend=auto"):
        build(small("yinyang", "backend=cuda_graphs"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("model", ["lif", "rlif", "adlif", "dcls_delays"])
def test_a_gpus_own_graphs(model, precision, train, monkeypatch):
    """Sums of float32 in another order."""
    losses, replay, replayed = [], torch.cuda.CUDAGraph.replay, []
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (replayed.append(1), replay(graph))
    )
    chosen = (f"model={model}", f"backend.precision={precision}", "trainer.gradient_clip_val=1.0")
    for name in ("gpu", "cuda_graphs"):
        assert not replayed
        result = train(f"backend={name}", *chosen, "trainer.max_epochs=3", folder=name)
        losses.append(result.metrics["train/loss"])
    assert len(replayed) == 2 * 8
    assert losses[0] == pytest.approx(losses[1], rel=1e-4 if precision == "32-true" else 1e-2)
