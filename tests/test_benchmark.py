"""`scripts/benchmark.py` measures what it says; no speed is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snnexp.inputs import Dense, Static

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def workloads(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import workloads

    return workloads


def run(*arguments):
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), "--idle", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_rows_by_workload_and_kernel(tmp_path):
    file = tmp_path / "times.json"
    done = run("W3", "--kernel", "torch", "numba", "--pairs", "3", "--json", str(file))
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())
    assert [(row["workload"], row["kernel"]) for row in rows] == [("W3", "torch"), ("W3", "numba")]
    for row in rows:
        assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["ms"] > 0 and row["loop_ms"] > 0


def test_an_unknown_workload_is_refused_with_the_known_ones():
    done = run("W9")
    assert done.returncode == 2 and "W2-128, W3, W4, W2-h1024" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cuda", "--memory"], "goes with workloads, --floors and --scan"),
        (["--scan"], "on a CPU spikes leave it as bits; add --device cuda"),
        (["--graphs"], "they are CUDA's; add --device cuda"),
        (["--device", "cuda", "--graphs", "--scan"], "drop --floors and --scan"),
        pytest.param(
            ["--device", "cuda"],
            "there is no CUDA; drop it to measure on the CPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA"),
        ),
    ],
)
def test_what_a_device_cannot_tell_is_refused(workloads, arguments, message, capsys):
    import benchmark

    with pytest.raises(SystemExit, match="2"):
        benchmark.main(arguments)
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_gpu_is_timed_by_its_own_events(workloads):
    """Two of them, around all repeats, the last of which is waited for."""
    from benchmarks import clock

    told = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            told.append("event")

        def synchronize(self):
            told.append("wait")

        def elapsed_time(self, end):
            return 12.0

    assert clock._by_events(lambda: told.append("run"), 3, Event) == 4.0
    assert told == ["event", "run", "run", "run", "event", "wait"]


def test_a_gpus_rows_tell_the_peak_of_memory(workloads, monkeypatch):
    """Of tensors, while a step runs."""
    import benchmark

    from benchmarks import clock

    told = []
    for name in ("reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: told.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3_000_000)
    assert clock.peak_megabytes(lambda: told.append("run"), "cuda") == 3.0
    assert told == ["reset_peak_memory_stats", "run", "synchronize"]
    monkeypatch.setattr(benchmark, "ours", lambda *_: lambda: None)
    monkeypatch.setattr(benchmark, "plain", lambda *_: lambda: None)
    monkeypatch.setattr(benchmark, "compare", lambda *_: {"ratio": 1.0})
    row = benchmark.measure("W3", "auto", 2, "cuda")
    assert row == {"workload": "W3", "kernel": "auto", "ratio": 1.0, "mb": 3.0, "loop_mb": 3.0}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("W2-h1024", (128, 256, 1024)),
        ("W2-b1024", (128, 1024, 128)),
        ("W2-t1000", (1000, 256, 128)),
    ],
)
def test_larger_workloads_are_what_they_are_called_and_learn(workloads, name, shape):
    """A network whose gradients overflowed would be silent after one step, and fast."""
    work = workloads.made(name)
    assert (work.inputs.num_steps, work.inputs.batch_size, work.sizes[1]) == shape
    network = workloads.build(work, "auto", None)
    work.loss(network(work.inputs)[0].readout.membrane).backward()
    for weight in network.parameters():
        assert weight.grad.isfinite().all() and weight.grad.any()


def test_the_plain_loops_optimizer_is_torchs_default(workloads, monkeypatch):
    """On a GPU that is the one of many tensors at once; a ratio to a slower one would flatter."""
    made, adam = [], torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *a, **k: made.append(adam(*a, **k)) or made[-1])
    workloads.plain("W3")
    workloads.ours("W3", "torch")
    assert [optimizer.defaults["fused"] for optimizer in made] == [None, True]


def test_a_scan_is_told_apart_from_what_it_has_to_move(workloads, monkeypatch):
    """Six numbers of four bytes an update; in half precision four of them have two."""
    from benchmarks import scans

    monkeypatch.setattr(scans, "bandwidth", lambda device: 24e6)
    (row,) = scans.measure("cpu", "torch", (10, 10, 10))
    assert (row["mbytes"], row["floor_ms"]) == (0.024, 1.0)
    assert row["ratio"] == row["ms"] > 0
    assert scans._bytes((10, 10, 10), torch.float16) == 16_000


@pytest.mark.parametrize("name", ["W1", "W3", "W4"])
def test_the_plain_loop_computes_what_ours_does(workloads, name):
    """With the same weights the readouts are the same, so that equal work is compared."""
    work = workloads.made(name)
    network = workloads.build(work, "reference", None).double()
    loop = workloads.PlainCuba(work.sizes) if work.cuba else workloads.PlainLIF(work)
    loop = loop.double()
    with torch.no_grad():
        for own, theirs in zip(network.weights().values(), loop.parameters(), strict=True):
            theirs.copy_(own)
        dense = [x.double() for x in work.dense]
        inputs = work.inputs
        if name == "W3":
            inputs = Dense(inputs.spikes.double())
        else:
            inputs = Static(inputs.values.double(), len(dense))
        expected = loop(torch.stack(dense))
        found = network(inputs)[0].readout.membrane
    torch.testing.assert_close(found, expected)
