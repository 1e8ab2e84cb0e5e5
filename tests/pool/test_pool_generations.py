"""Generations of code, each with a fork server of its own, beside each other in one supervisor."""

import asyncio
import os
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from vera_supervisor.pool.launch import Launcher, Settings
from vera_supervisor.pool.outfits import Outfit
from vera_supervisor.pool.trial import UnfitCode, on_trial, try_out
from vera_worker import process_tree
from vera_worker.errors import ModuleLoadError

WITHIN_S = 60.0


class Workshop:
    """Where a task module is written again and again."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "made_here.py"
        self.settings = Settings(
            modules=("made_here",), max_payload_bytes=1000, max_result_bytes=1000
        )

    def launcher(self, text: str) -> Launcher:
        self.file.write_text(text)
        return Launcher(self.settings, None)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Workshop(tmp_path)


def tracker() -> int:
    """Return the pid of multiprocessing's resource tracker, which serves all fork servers."""
    pid: int = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    return pid


def offered(launcher: Launcher) -> list[str]:
    return [f.name for f in asyncio.run(try_out(launcher, Outfit(), WITHIN_S))]


def test_each_has_the_code_that_was_there_when_it_began(workshop: Workshop) -> None:
    old = workshop.launcher("def first(): ...")
    assert offered(old) == ["first"]
    new = workshop.launcher("def first(): ...\ndef second(): ...")
    assert offered(new) == ["first", "second"]
    assert offered(old) == ["first"], "what is on the disk is none of its business"
    old.close()
    assert offered(new) == ["first", "second"], "the other one's end does not touch it"
    new.close()


def test_one_that_is_closed_starts_nothing_and_can_be_closed_again(
    workshop: Workshop,
) -> None:
    launcher = workshop.launcher("def first(): ...")
    offered(launcher)
    launcher.close()
    launcher.close()
    with pytest.raises(UnfitCode, match="the pool is closed"):
        offered(launcher)


@pytest.mark.parametrize(
    ("text", "within_s", "reason"),
    [
        ("import no_such_module_", WITHIN_S, "ModuleNotFoundError"),
        ("import os\nos._exit(0)", WITHIN_S, "it ended the process that imported it"),
        ("import time\nwhile True: time.sleep(9)", 0.3, "not imported within"),
        ("def f(): ...\n@f\nclass A: ...", WITHIN_S, "TypeError"),
    ],
)
def test_code_that_does_not_load_is_named_and_leaves_nothing(
    workshop: Workshop, text: str, within_s: float, reason: str
) -> None:
    workshop.file.write_text(text)

    async def try_it() -> None:
        async with on_trial(workshop.settings, None, {}, within_s):
            raise AssertionError("it must not come to this")

    before = process_tree.children(os.getpid())
    with pytest.raises(ModuleLoadError, match="made_here") as unfit:
        asyncio.run(try_it())
    assert set(process_tree.children(os.getpid())) - set(before) <= {tracker()}
    assert reason in str(unfit.value)
