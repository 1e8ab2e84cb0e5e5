"""The tables [pools.NAME] of the file."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.config_files import faults, loaded
from vera_supervisor.commands.config import config as command
from vera_supervisor.config import Pool, changes

TWO = """\
[pools.gpu]
functions = ["train", "infer"]
gpus = [0, 1]
warm_up = "mytasks.load_model"
start_timeout = "5m"
max_growth = "4GiB"
environment = {OMP_NUM_THREADS = 2, "API_KEY" = "hush"}

[pools.slow-disk]
functions = ["backup"]
max_workers = 3
min_workers = 0
queue_size = 20
"""

NAME = 'a name of 1 to 64 letters, digits, "_" and "-" other than "default"'
FAULTS = f"""\
worker.toml:3: pools.gpu.max_worker: unknown key; did you mean "pools.gpu.max_workers"?
worker.toml:4: pools.gpu.gpus: \
expected a list, each item an integer from 0 to 1023, none twice, found a list
worker.toml:5: pools.gpu.warm_up: expected the name of a function with that of its module, \
such as "package.tasks.load", found "load"
worker.toml:6: pools.gpu.environment: expected a table of texts and integers \
by the names of variables, such as {{LEVEL = "3"}}, found a text (not shown)
worker.toml:7: pools.empty.functions: \
expected a list, each item the name of a function, found nothing
worker.toml:9: pools.default: expected {NAME}, which is that of [executor]
worker.toml:11: pools.b.min_workers: expected an integer from 0 to 4096, found -1
worker.toml:16: pools.two.max_workers: expected at most 2, one for each of pools.two.gpus, found 3
worker.toml:14: pools.two.functions: \
expected functions of no other pool, found "infer", which pools.b has
worker.toml:20: pools.x.min_workers: \
expected at most pools.x.max_workers, which is 1 (default), found 2"""


def test_every_key_is_read_and_each_gpu_has_an_executor() -> None:
    assert loaded(TWO).pools == {
        "gpu": Pool(
            functions=("train", "infer"),
            max_workers=2,
            min_workers=1,
            gpus=(0, 1),
            environment={"OMP_NUM_THREADS": "2", "API_KEY": "hush"},
            warm_up="mytasks.load_model",
            start_timeout=300.0,
            max_growth=4 * 2**30,
        ),
        "slow-disk": Pool(functions=("backup",), max_workers=3, min_workers=0, queue_size=20),
    }
    assert loaded("").pools == {}


def test_all_faults_are_told_with_their_lines() -> None:
    text = """\
[pools.gpu]
functions = ["train"]
max_worker = 2
gpus = [0, 0]
warm_up = "load"
environment = {"A=B" = "1"}
[pools.empty]
max_workers = 1
[pools.default]
[pools.b]
min_workers = -1
functions = ["infer"]
[pools.two]
functions = ["infer", "train2"]
gpus = [0, 1]
max_workers = 3
[pools.x]
functions = ["y"]
max_workers = 1
min_workers = 2
"""
    assert faults(text) == FAULTS.replace(
        "which is 1 (default)", "which is 1 (worker.toml:19)"
    ).split("\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pools = 3", "worker.toml:1: pools: expected a table, found an integer"),
        ("pools.gpu = 3", "worker.toml:1: pools.gpu: expected a table, found an integer"),
        ("[pool.gpu]", 'worker.toml:1: pool: unknown section; did you mean "pools"?'),
    ],
)
def test_what_is_no_pool_at_all(text: str, message: str) -> None:
    assert faults(text) == [message]


def test_the_minimum_gives_way_where_nothing_is_said() -> None:
    (pool,) = loaded('[pools.a]\nfunctions = ["f"]\ngpus = [3]\n').pools.values()
    assert (pool.min_workers, pool.max_workers) == (1, 1)


def test_what_is_shown_of_a_pool_has_no_secrets() -> None:
    loaded(TWO)
    shown = CliRunner().invoke(command, ["show", "--config", "worker.toml"]).output
    assert "hush" not in shown
    assert "pools.gpu.max_workers" in shown
    assert re.search("pools.gpu.warm_up +mytasks.load_model", shown)


def test_all_of_a_pool_but_its_functions_changes_without_a_restart() -> None:
    old = loaded(TWO)
    found = changes(old, loaded(TWO.replace("max_workers = 3", "max_workers = 4")))
    assert [(change.key, change.reloadable) for change in found] == [
        ("pools.slow-disk.max_workers", True)
    ]
    gone = changes(old, loaded(""))
    needs_a_restart = {change.key for change in gone if not change.reloadable}
    assert needs_a_restart == {"pools.gpu.functions", "pools.slow-disk.functions"}


def test_the_example_in_the_documentation_is_a_configuration() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pools.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    pools = loaded(example).pools
    assert {name: pool.max_workers for name, pool in pools.items()} == {"gpu": 2, "archive": 2}


def test_what_a_gpu_gives_an_executor_is_not_set_beside_it() -> None:
    text = """\
[pools.a]
functions = ["f"]
gpus = [3]
environment = {LEVEL = "1", CUDA_VISIBLE_DEVICES = "0"}
"""
    (fault,) = faults(text)
    assert fault == (
        "worker.toml:4: pools.a.environment: expected no CUDA_VISIBLE_DEVICES, "
        'which pools.a.gpus gives each executor, found "CUDA_VISIBLE_DEVICES"'
    )
    assert loaded(text.replace("gpus = [3]\n", "")).pools
