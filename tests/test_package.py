"""The distributions: what the wheel holds, and that it works away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import snnexp

ROOT = Path(__file__).resolve().parents[1]

COMPOSE = """
import json
import hydra
import snnexp
from snnexp import config

directory = config.directory()
with hydra.initialize_config_dir(version_base="1.3", config_dir=str(directory)):
    cfg = hydra.compose("train")
print(json.dumps({"package": snnexp.__file__, "conf": str(directory), "keys": list(cfg)}))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unpacked wheel, built from the sdist of this checkout without a network."""
    folder = tmp_path_factory.mktemp("package")
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def distribution(unpacked: Path) -> Distribution:
    (found,) = distributions(path=[str(unpacked)])
    return found


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_wheel_holds_the_package_and_nothing_else(unpacked: Path, distribution: Distribution):
    tops = {path.name for path in unpacked.iterdir()}
    assert tops == {"snnexp", f"snnexp-{distribution.version}.dist-info"}
    assert (unpacked / "snnexp" / "py.typed").is_file()
    modules = {name for name in files(ROOT / "snnexp") if name.endswith(".py")}
    assert {name for name in files(unpacked / "snnexp") if name.endswith(".py")} == modules


def test_wheel_holds_every_configuration(unpacked: Path):
    packed = files(unpacked / "snnexp" / "conf")
    assert "train.yaml" in packed
    assert packed == files(ROOT / "conf")


def test_wheel_announces_the_command(distribution: Distribution):
    commands = distribution.entry_points.select(group="console_scripts")
    assert {entry.name: entry.value for entry in commands} == {"snnexp-train": "snnexp.cli:main"}


def test_wheel_composes_away_from_the_checkout(unpacked: Path, tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-c", COMPOSE]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert Path(found["package"]) == (unpacked / "snnexp" / "__init__.py").resolve()
    assert Path(found["conf"]) == (unpacked / "snnexp" / "conf").resolve()
    assert "model" in found["keys"]


def test_one_version_everywhere(distribution: Distribution):
    assert Path(snnexp.__file__).is_relative_to(ROOT)
    assert distribution.version == snnexp.__version__
    assert OmegaConf.load(ROOT / "CITATION.cff").version == snnexp.__version__
