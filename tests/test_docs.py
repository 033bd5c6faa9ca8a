"""docs/your_tutorial.md: its commands compose, and the options that it names exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from snnexp import config, results
from snnexp.session import compose

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "your_tutorial.md").read_text()
COMMANDS = [shlex.split(found) for found in re.findall(r"`(python train\.py [^`]*)`", PAGE)]
GROUPS = {str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*/")}


def test_each_of_five_tutorials_has_its_command():
    table = PAGE.partition("| tutorial | command |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if "python train.py" in line]
    names = ["snnTorch", "snnTorch", "sinabs", "hxtorch", "Spyx"]
    assert [re.match(r"\| (\w+)", row).group(1) for row in rows] == names


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_composes(command):
    cfg = compose([word for word in command[2:] if word != "-m"])
    config.check(cfg)  # raises for what no run would take
    default = compose([])
    assert results.setting_of(cfg) != results.setting_of(default)


def test_named_options_exist():
    named = re.findall(r"(?<![\w./])([\w/]+)=(\[[\w,]+\]|\w+)", PAGE)
    found = 0
    for group, options in named:
        if group in GROUPS:
            for option in options.strip("[]").split(","):
                assert (ROOT / "conf" / group / f"{option}.yaml").is_file(), f"{group}={option}"
                found += 1
    assert found > 40


def test_the_readmes_tables_are_those_of_the_rows():
    """`python scripts/reproduce.py --markdown EXPERIMENT...` writes them."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `experiment=.*", readme, re.MULTILINE)
    assert len(rows) > 10
    named = [re.match(r"\| `experiment=(\w+)` \|", row).group(1) for row in rows]
    command = [sys.executable, ROOT / "scripts" / "reproduce.py", "--markdown", *named]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    header, rule, *lines = told.stdout.splitlines()
    assert lines == rows
    tables = re.findall(r"^(\| `python train\.py` .*)\n(.*)\n\| `experiment=", readme, re.MULTILINE)
    assert set(tables) == {(header, rule)}


def test_the_readme_leads_to_each_page():
    readme = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in readme, page.name
