"""What a writer was told is on the disk, whatever happens to it at whichever moment (D2, D3)."""

import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from tests.store.traced import Told, assert_kept, write_traced
from tests.store.writer_process import GIVEN_UP, NOT_OPENED
from tests.support.rounds import tortured, values
from tests.support.traced_worker import needs_strace

pytestmark = needs_strace

_CALL: Final = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)")
#: Calls on files that one run makes: more than there are, so that a sweep goes through all.
_ALL: Final = 130


def sweep(call: str, *few: int) -> list[ParameterSet]:
    """Return a system call with a few of its moments, and with all of them under torture."""
    return [
        pytest.param(call, few, id=f"some {call}"),
        pytest.param(call, range(1, _ALL), id=f"every {call}", marks=tortured(900)),
    ]


def unsynced_acknowledgements(trace: str) -> tuple[int, int]:
    """Return how many acknowledgements a trace has, and how many came before their sync."""
    synced, total, early = False, 0, 0
    syncing: set[str] = set()
    for line in trace.splitlines():
        thread = line.split()[0]
        if "pwrite64(" in line and "-wal>" in line:
            synced = False
        elif "fdatasync(" in line and "-wal>" in line:
            syncing.add(thread)
        if "fdatasync" in line and line.endswith("= 0") and thread in syncing:
            syncing.discard(thread)
            synced = True
        if "write(1<" in line and '"added ' in line:
            total += 1
            early += not synced
    return total, early


@pytest.mark.parametrize(("synchronous", "durable"), [("as it is", True), ("normal", False)])
def test_every_acknowledgement_comes_after_a_sync_that_covers_it(
    tmp_path: Path, synchronous: str, durable: bool
) -> None:
    trace = tmp_path / "trace"
    watch = ["-y", "-o", str(trace), "-e", "trace=pwrite64,fdatasync,write"]
    told = write_traced(tmp_path / "tasks.db", *watch, synchronous=synchronous)
    assert told.status == 0, told.errors
    total, early = unsynced_acknowledgements(trace.read_text())
    assert total == len(told.added) == 8
    assert (early == 0) is durable


def test_a_directory_that_is_made_is_on_the_disk_before_anything_is_acknowledged(
    tmp_path: Path,
) -> None:
    trace, store = tmp_path / "trace", tmp_path / "new" / "var" / "tasks.db"
    write_traced(store, "-y", "-o", str(trace), "-e", "trace=mkdir,fsync,fdatasync,write")
    calls = trace.read_text().splitlines()
    first = next(i for i, call in enumerate(calls) if '"added ' in call)
    for place in (store.parent, store.parent.parent):
        made = next(i for i, call in enumerate(calls) if f'mkdir("{place}"' in call)
        synced = [c for c in calls[made:first] if "sync(" in c and f"<{place.parent}>)" in c]
        assert synced, f"{place} may not be there after a power cut"


def hurt(path: Path, *faults: str) -> Told:
    """Let a writer run into faults, and assert that it has kept what it was told."""
    options = [option for fault in faults for option in ("-e", f"inject={fault}")]
    calls = ",".join(dict.fromkeys(fault.partition(":")[0] for fault in faults))
    trace = path.with_suffix(".trace")
    path.parent.mkdir(mode=0o700)
    told = write_traced(path, "-o", str(trace), "-e", f"trace={calls}", *options)
    assert_kept(path, told)
    return told


def was_hurt(path: Path) -> bool:
    """Return whether the writer of that database met its fault."""
    return "(INJECTED)" in path.with_suffix(".trace").read_text()


@pytest.mark.parametrize(
    ("call", "moments"),
    [
        *sweep("pwrite64", 9, 20, 38),
        *sweep("fdatasync", 9),
        *sweep("ftruncate", 1),
        *sweep("unlink", 1),
    ],
)
def test_a_writer_killed_at_any_moment_has_kept_what_it_acknowledged(
    tmp_path: Path, call: str, moments: Sequence[int]
) -> None:
    for moment in moments:
        told = hurt(tmp_path / f"{moment}" / "tasks.db", f"{call}:signal=KILL:when={moment}")
        if told.status == 0:
            assert len(moments) == _ALL - 1, "a moment that does not come proves nothing"
            assert len(told.added) == 8
            return
        assert told.status == -signal.SIGKILL
    assert len(moments) < _ALL - 1, "there are more moments than were tried"


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize(
    ("call", "moments"),
    [
        *sweep("pwrite64", 12, 34),
        *sweep("fdatasync", 9, 12),
        *sweep("ftruncate", 2),
        *sweep("unlink", 2),
    ],
)
def test_a_writer_whose_disk_fails_once_refuses_and_then_goes_on(
    tmp_path: Path, call: str, error: str, moments: Sequence[int]
) -> None:
    for moment in moments:
        path = tmp_path / f"{moment}" / "tasks.db"
        told = hurt(path, f"{call}:error={error}:when={moment}")
        if told.status == NOT_OPENED:
            assert not told.added
        else:
            assert told.status == 0, told.errors
            assert len(told.added) == 8
            assert len(told.ended) == 4
        if not was_hurt(path):
            assert len(moments) == _ALL - 1, "a moment that does not come proves nothing"
            return
    assert len(moments) < _ALL - 1, "there are more moments than were tried"


@values([24], range(12, _ALL, 3), "moments")
def test_a_writer_whose_disk_is_full_for_a_while_goes_on_when_there_is_room(
    tmp_path: Path, moments: list[int]
) -> None:
    for moment in moments:
        window = f"when={moment}..{moment + 4}"
        told = hurt(tmp_path / f"{moment}" / "tasks.db", f"pwrite64:error=ENOSPC:{window}")
        if told.status == NOT_OPENED:
            assert not told.added
        else:
            assert told.status == 0, told.errors
            assert len(told.added) == 8


def test_a_writer_whose_disk_fails_for_good_acknowledges_nothing_more(tmp_path: Path) -> None:
    told = hurt(tmp_path / "store" / "tasks.db", "fdatasync:error=EIO:when=8+")
    assert told.status == GIVEN_UP
    assert len(told.added) < 8
    assert told.refused
