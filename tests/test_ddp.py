"""Several processes that train one model: as one process with the batches put together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY

ROOT = Path(__file__).resolve().parents[1]


def test_two_processes_are_as_one_with_the_doubled_batch(train, tmp_path):
    """Also where the validation points cannot be halved: 11 of them."""
    sizes = ("dataset.sizes={train: 40, val: 11, test: 10}", "trainer.max_epochs=2")
    alone = train(*sizes, "batch_size=8", folder="alone").metrics
    together = ("trainer=ddp", "backend=cpu", "backend.devices=2", "batch_size=4")
    command = [sys.executable, "train.py", *TINY, *sizes, *together]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path / 'together'}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("epoch 2/2") == ended.stdout.count("saved in") == 1
    summary = json.loads((tmp_path / "together" / "summary.json").read_text())
    compared = [
        name
        for name in alone
        if name.startswith(("val/", "test/", "train/")) and name != "train/samples_per_second"
    ]
    assert "val/accuracy" in compared and "val/synops_ac_per_sample" in compared
    for name in compared:
        assert summary[name] == pytest.approx(alone[name], abs=1e-5), name
