"""A sweep whose trials are a formula, in a process of its own: no torch, no training.

A trial notes each of its attempts in `attempts` in its folder, and takes SECONDS. It kills its own
process if lr is above KILL_ABOVE. With MEET trial 0 goes on until another process runs trial 1.
"""

import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from snnexp import cli, config
from snnexp.sweeper import plugin, search


def task(cfg) -> float:
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder / "attempts").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(float(os.environ.get("SECONDS", "0")))
    if "MEET" in os.environ and folder.name == "0":
        while not (folder.parent / "1" / "attempts").exists():
            time.sleep(0.05)
    if cfg.optimizer.lr > float(os.environ.get("KILL_ABOVE", "inf")):
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / "ended").open("x") as file:  # fails where a result would be overwritten
        file.write("once")
    return cfg.optimizer.lr


if __name__ == "__main__":
    search.check = lambda cfg: None  # it would import torch
    signal.signal(signal.SIGTERM, cli._interrupt)
    plugin.register()
    hydra.main(
        config_path=str(config.directory()), config_name="train", execution_whitelist=["snnexp.*"]
    )(task)()
