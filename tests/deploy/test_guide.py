"""What the user guide says to do in a checkout, with Docker and with systemd is done there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.blocks import GUIDE, Block, blocks, fits
from tests.guide.reader import with_ports
from tests.support.boxes import CHOSEN, ROOT, SystemdBox, box_tests, copy_checkout, run
from tests.support.engine import Engine
from tests.support.ports import free_ports

BLOCKS = blocks(GUIDE.read_text())
#: Who is root there has no sudo.
_FIRST = 'set -e; sudo() { "$@"; }\n'
#: Others may keep this machine busy, whose ports and processors the box has.
_CALM = "[Service]\nEnvironment=MAX_CPU_PERCENT=100 MAX_MEMORY_PERCENT=100\n"


def of(place: str) -> list[Block]:
    found = [block for block in BLOCKS if block.word == place]
    assert found, f"the guide has no block for {place}"
    return found


def assert_fits(block: Block, printed: str, ports: list[str]) -> None:
    if block.expected is not None:
        assert fits(with_ports(block.expected, ports), printed), f"{block} prints\n{printed}"


@pytest.mark.deploy
@pytest.mark.timeout(600)
@pytest.mark.skipif(not CHOSEN, reason="installs from packages: make test-deploy")
@pytest.mark.parametrize("block", of("checkout"), ids=str)
def test_in_a_fresh_checkout(block: Block, tmp_path: Path) -> None:
    copy_checkout(tmp_path / "checkout")
    done = run("bash", "-ec", block.code, cwd=tmp_path / "checkout", timeout_s=500)
    assert_fits(block, done.stdout, [])


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Start the engine of this checkout."""
    machine = Engine()
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


@pytest.mark.parametrize("place", [pytest.param("docker", marks=box_tests("docker-box"))])
def test_with_docker(place: str, engine: Engine) -> None:
    for block in of(place):
        # In the engine's network, where the published ports are.
        printed = engine.sh(f"{_FIRST}cd {ROOT}\n{block.code}", timeout_s=600)
        assert_fits(block, printed, [])


@pytest.mark.parametrize("place", [pytest.param("systemd", marks=box_tests("systemd-box"))])
def test_with_systemd(place: str) -> None:
    box, ports = SystemdBox(), list(map(str, free_ports(4)))
    try:
        box.boot()
        copy_checkout(box.root() / "srv" / "vera-worker")
        for unit, more in (
            ("vera-worker", f"Environment=WORKER_PORT={ports[0]}\n"),
            ("vera-worker@", ""),
        ):
            drop_in = box.root() / "etc/systemd/system" / f"{unit}.service.d" / "tests.conf"
            drop_in.parent.mkdir(parents=True)
            drop_in.write_text(_CALM + more)
        first = f"{_FIRST}export VERA_URL=http://localhost:{ports[0]}\ncd /srv/vera-worker\n"
        for block in of(place):
            code = with_ports(block.code, ports)
            printed = box.sh(first + code, timeout_s=600)
            assert_fits(block, printed, ports)
    finally:
        box.down()
