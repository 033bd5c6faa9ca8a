"""Triton's kernels: in the interpreter where there is no GPU, and how they are chosen."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from snnexp import kernels
from snnexp.kernels import dispatch
from tests.kernels.scans import SPIKING, outcome
from tests.models import made

AGREEMENT = Path(__file__).with_name("triton_agreement.py")
LIF = made.lif(size=1).constants
FIRST, *_, EXACT = (name for name in SPIKING if not name.startswith(("iaf", "adaptive")))
triton = pytest.importorskip("triton")


def test_every_kernel_agrees_with_the_plain_loop():
    """In a process of its own, since the interpreter is chosen for all that a process compiles."""
    interpret = "0" if torch.cuda.is_available() else "1"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(AGREEMENT)],
        env=os.environ | {"TRITON_INTERPRET": interpret},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


class H100:
    """As much of a driver as compiling takes."""

    def get_current_target(self):
        return triton.backends.compiler.GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


class Compiled:
    """Stands for a kernel: compiles it for the arguments of each call, and does not run it."""

    def __init__(self, kernel, made):
        self.kernel, self.made = kernel, made

    def __getitem__(self, grid):
        return lambda *args, **options: self.made.append(
            self.kernel.warmup(*args, grid=grid, **options)
        )


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """The kernels that scans of `triton` compiled for an H100, which runs none of them here."""
    from triton.runtime.driver import driver

    from snnexp.kernels import triton_scan

    if torch.cuda.is_available():
        pytest.skip("a GPU runs them")
    made = []
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(driver, "_active", H100())
    monkeypatch.setattr(triton_scan, "INTERPRETED", True)
    monkeypatch.setattr(dispatch, "_tell", lambda line: pytest.fail(line))
    for kernel in ("FORWARD", "BACKWARD"):
        stand_in = Compiled(getattr(triton_scan, kernel), made)
        monkeypatch.setattr(triton_scan, kernel, stand_in)
    return made


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "options"),
    [
        (FIRST, (3, 2, 65), torch.float32, {}),
        (EXACT, (1, 1, 1), torch.double, {"learn": True}),
        (list(SPIKING)[63], (2, 3, 33), torch.float32, {"learn": True, "recurrent": True}),
        (FIRST, (2, 1, 256), torch.bfloat16, {"recurrent": True}),
        (FIRST, (2, 1, 128), torch.float32, {"recurrent": True}),
        (FIRST, (1, 2, 259), torch.float32, {"learn": True, "recurrent": True}),
        ("adaptive hard", (2, 3, 33), torch.float32, {"learn": True, "recurrent": True}),
        ("adaptive soft", (2, 3, 33), torch.float32, {"learn": True}),
    ],
)
def test_kernels_compile_for_a_gpu_and_fit_it(name, shape, dtype, options, compiled):
    from snnexp.kernels import triton_scan

    outcome("triton", SPIKING[name], shape, dtype=dtype, **options)
    assert [kernel.metadata.name for kernel in compiled] == ["forward", "backward"]
    for kernel in compiled:
        assert kernel.asm["cubin"]
        assert kernel.metadata.shared <= triton_scan.SHARED
        in_tiles = "recurrent" in options and shape[2] <= triton_scan.MOST
        assert ("mma.sync" in kernel.asm["ptx"]) == in_tiles


def test_another_slope_or_number_of_steps_is_compiled_already(compiled):
    """A sweep over slopes would else wait for the compiler in each of its runs."""
    for slope, steps in ((3.0, 5), (7.5, 6)):
        p = SPIKING["adaptive soft"]
        p = replace(p, surrogate=type(p.surrogate)(slope=slope))
        outcome("triton", p, (steps, 2, 3), dtype=torch.float32)
    assert [kernel.hash for kernel in compiled[:2]] == [kernel.hash for kernel in compiled[2:]]


def test_on_a_cpu_triton_falls_back_to_torch_and_the_log_says_so_once(caplog):
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter runs it")
    dispatch._tell.cache_clear()
    current = torch.randn(5, 2, 3)
    with caplog.at_level("INFO"):
        for _ in range(2):
            spikes = kernels.scan(current, LIF, kernel="triton").spikes
    assert torch.equal(spikes, kernels.scan(current, LIF, kernel="torch").spikes)
    line = "torch's operations run the loop over time, since Triton's kernels are for CUDA, not for"
    assert caplog.text.count(line) == 1


def test_without_triton_torch_runs_the_loop(caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "snnexp.kernels.triton_scan", None)
    for function in (dispatch._triton, dispatch._tell):
        function.cache_clear()
    with caplog.at_level("INFO"):
        kernels.scan(torch.randn(5, 2, 3), LIF, kernel="triton")
    dispatch._triton.cache_clear()
    assert "since Triton cannot be used" in caplog.text


class Broken:
    """A driver that cannot be made."""

    def __init__(self, error):
        self.error = error

    @property
    def active(self):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to find C compiler. Please specify via CC environment variable."),
        AssertionError("libcuda.so cannot found!\nPlease make sure GPU is set up and then run"),
    ],
)
def test_where_triton_cannot_start_torch_runs_the_loop(error, monkeypatch):
    from snnexp.kernels import triton_scan

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(triton_scan, "driver", Broken(error))
    triton_scan._fault.cache_clear()
    lines = []
    monkeypatch.setattr(dispatch, "_tell", lines.append)
    with FakeTensorMode():
        current = torch.empty(5, 2, 3, device="cuda")
    assert dispatch._choose("auto", current, LIF, None, False) == "torch"
    triton_scan._fault.cache_clear()
    reason = str(error).partition("\n")[0]
    assert len(lines) == 1 and f"since Triton cannot start kernels ({reason})" in lines[0]


@pytest.mark.parametrize("own", ["ieee", "tf32"])
def test_products_are_as_torchs_own_however_they_were_chosen(own):
    """Once torch's newer setting was used, it refuses to tell the older one."""
    from snnexp.kernels import triton_scan

    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = own
    expected = {"ieee": "tf32x3", "tf32": "tf32"}[own]
    assert triton_scan._layout(2, 3, torch.empty(3, 3))[1]["PRECISION"] == expected
    torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.parametrize(
    ("device", "kernel", "chosen"),
    [
        ("cuda", "auto", "triton"),
        ("cuda", "triton", "triton"),
        ("cuda", "torch", "torch"),
        ("cuda", "numba", "torch"),
        ("cpu", "auto", "numba"),
        ("cpu", "numba", "numba"),
        ("cpu", "torch", "torch"),
    ],
)
def test_auto_takes_triton_on_cuda_only(device, kernel, chosen, monkeypatch):
    monkeypatch.setattr(dispatch, "_lacking_triton", lambda *_: None)
    with FakeTensorMode():
        current = torch.empty(5, 2, 3, device=device)
    assert dispatch._choose(kernel, current, LIF, None, False) == chosen
