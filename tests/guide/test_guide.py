"""Every command of docs/USER_GUIDE.md is run, and prints what stands there.

Those that need a service manager, a container engine or a fresh checkout are run by the tests in
`tests/deploy`; what is not run at all says why.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.blocks import GUIDE, PLACES, Block, blocks, fits
from tests.guide.reader import Reader
from tests.support.worker_process import WorkerProcess, worker
from vera_supervisor.scheduling.waiting import Blocked

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]  # a section is many programs

BLOCKS = blocks(GUIDE.read_text())
SECTIONS = list(dict.fromkeys(block.section for block in BLOCKS))
#: The first lines of what is not run: a new one has to be put down here as well.
NOT_RUN = {
    "systemd/install-hosts w1 ops@w2",
    'kubectl create secret generic vera-worker --from-literal=token="$(openssl rand -hex 32)"',
    "docker compose --profile monitoring up -d",
}


def run_here(section: str) -> list[Block]:
    return [b for b in BLOCKS if b.section == section and not b.reason and b.word not in PLACES]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """Run the worker that sections talk to which start none of their own."""
    with worker(tmp_path_factory.mktemp("node"), modules="vera_executor.demo") as running:
        yield running


@pytest.mark.parametrize("section", [section for section in SECTIONS if run_here(section)])
def test_a_section_is_true(section: str, node: WorkerProcess, tmp_path: Path) -> None:
    todo = run_here(section)
    with Reader(tmp_path, node.url) as reader:
        if any(block.word == "serve" for block in todo):
            reader.move_to_own_worker()
        for block in todo:
            reader.follow(block)


def test_what_tables_name_is_all_there_is(node: WorkerProcess) -> None:
    guide = GUIDE.read_text()
    for reason in Blocked:
        assert f"`{reason}`" in guide.partition("| `blocked_by` |")[2], reason
    exposition = node.client.get("/metrics/prometheus").text
    metrics = re.findall("^# TYPE ([a-z_]+)", exposition, re.MULTILINE)
    alerts = (GUIDE.parents[1] / "deploy" / "prometheus" / "alerts.yml").read_text()
    for name in {*metrics, *re.findall(r"- alert: (\w+)", alerts)}:
        assert re.search(rf"^\| .*`{name}[`{{]", guide, re.MULTILINE), name


def test_what_is_not_run_says_why_and_is_listed_here() -> None:
    assert {block.code.splitlines()[0] for block in BLOCKS if block.reason} == NOT_RUN


def test_the_readme_shows_what_the_guide_has_tried() -> None:
    """Its commands are run as part of the guide, but for make and what make itself runs."""
    tried = "\n".join([*(block.code for block in BLOCKS), recipes()])
    own = ("make run", "make test", "make serve")
    for block in blocks((GUIDE.parents[1] / "README.md").read_text()):
        commands = [line.partition(" #")[0].strip() for line in block.code.splitlines()]
        if block.language == "bash":
            assert all(command in own or command in tried for command in commands), block.code


def recipes() -> str:
    """Return the Makefile, as somebody would type what it runs."""
    text = (GUIDE.parents[1] / "Makefile").read_text().replace("--quiet ", "")
    for name, value in (("BIN", ".venv/bin"), ("VENV", ".venv"), ("PYTHON", "python3")):
        text = text.replace(f"$({name})", value)
    return text


def test_every_block_is_of_a_kind_that_is_known() -> None:
    for block in BLOCKS:
        assert block.language in ("bash", "python", "toml") or block.file or block.reason, block
        assert block.word in ("", "fails", "serve", *PLACES), block


TWO = """
## One

```bash
echo 1
```

It prints

```text
1 … 2
```

*Not run by the tests: there is none.*

```bash docker
docker ps
```

## Two

```toml
# worker.toml
[worker]
```
"""


def test_blocks_are_read() -> None:
    first, second, third = blocks(TWO)
    assert (first.section, first.line, first.code, first.expected) == (
        "One",
        4,
        "echo 1\n",
        "1 … 2\n",
    )
    assert (second.word, second.reason) == ("docker", "there is none.")
    assert (third.section, third.file, third.reason) == ("Two", "worker.toml", None)


@pytest.mark.parametrize(
    ("expected", "printed", "fit"),
    [("a…c", "a b\nc", True), ("a … c\n", "a b c", True), ("a", "ab", False), ("…", "", True)],
)
def test_dots_stand_for_anything(expected: str, printed: str, fit: bool) -> None:
    assert fits(expected, printed) is fit
