"""Trying out new task code: one executor has to load it, and to answer.

That executor gets no task and no slot, so for a moment there is one more than there may be.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import anyio
import anyio.to_thread

from vera_supervisor.pool.cgroups import Groups
from vera_supervisor.pool.executor import Executor
from vera_supervisor.pool.launch import Launched, Launcher, Settings
from vera_supervisor.pool.outfits import Outfit
from vera_worker import wire
from vera_worker.errors import ModuleLoadError, VeraError, WarmUpFailed
from vera_worker.handlers import FunctionInfo

#: An executor that has just become ready answers a self-check within this.
ANSWER_S: Final = 5.0
#: What it says before it gets a task is short, whatever it offers.
_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024


class UnfitCode(VeraError):
    """An executor with that code is not fit for tasks, and no single module is known to blame."""


class CodeIsLate(ModuleLoadError):
    """A task module is not loaded in time, which may be the module's fault or the machine's."""


#: Why code does not pass.
UNFIT: Final = (ModuleLoadError, WarmUpFailed, UnfitCode)
#: Such of these as may be otherwise on a machine that is less busy.
UNFIT_NOW: Final = (CodeIsLate, UnfitCode)


class Candidate(NamedTuple):
    """Code that has passed."""

    launcher: Launcher
    #: What the executors of each pool are given.
    outfits: Mapping[str, Outfit]
    functions: tuple[FunctionInfo, ...]


@asynccontextmanager
async def on_trial(
    settings: Settings, groups: Groups | None, outfits: Mapping[str, Outfit], within_s: float
) -> AsyncIterator[Candidate]:
    """Load the task modules anew; if anything fails, end what was started for it.

    They have to be loaded within `within_s` seconds, in the environment of each pool; no pool is
    warmed up for that. Raises UNFIT.
    """
    launcher = await anyio.to_thread.run_sync(Launcher, settings, groups)
    try:
        functions = await try_out(launcher, Outfit(), within_s)
        for environment in _environments(outfits.values()):
            await try_out(launcher, Outfit(environment=environment), within_s)
        yield Candidate(launcher, outfits, functions)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(launcher.close)
        raise


def _environments(outfits: Iterable[Outfit]) -> list[Mapping[str, str]]:
    """Return those besides our own in which modules are loaded, each once."""
    found: list[Mapping[str, str]] = []
    for outfit in outfits:
        if outfit.environment and outfit.environment not in found:
            found.append(outfit.environment)
    return found


async def try_out(launcher: Launcher, outfit: Outfit, within_s: float) -> tuple[FunctionInfo, ...]:
    """Return the functions that `launcher` offers; raise UNFIT."""
    deadline = asyncio.get_running_loop().time() + within_s
    late = f"it was not imported within executor.start_timeout ({within_s:g} s)"
    executor = Executor(launcher, await _started(launcher, outfit, deadline, late))
    try:
        return await _examine(executor, deadline, late)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(launcher.kill, executor.pid)
            await executor.wait()
            await anyio.to_thread.run_sync(launcher.sweep, executor.pid)
            executor.close()


async def _started(launcher: Launcher, outfit: Outfit, deadline: float, late: str) -> Launched:
    loop = asyncio.get_running_loop()
    start = loop.run_in_executor(None, launcher.start, outfit)
    try:
        await asyncio.wait([start], timeout=deadline - loop.time())
    except asyncio.CancelledError:
        await _break_off(launcher, start)
        raise
    if not start.done():
        module = launcher.importing() or ", ".join(launcher.modules)
        await _break_off(launcher, start)
        raise CodeIsLate(module, late)
    try:
        return start.result()
    except OSError as error:
        raise UnfitCode(f"no executor could be started: {error}") from error


async def _break_off(launcher: Launcher, start: "asyncio.Future[Launched]") -> None:
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(launcher.break_off)
        await asyncio.wait([start])
    if start.exception() is None:
        start.result().let_go()


async def _examine(executor: Executor, deadline: float, late: str) -> tuple[FunctionInfo, ...]:
    modules = ", ".join(executor.launcher.modules)
    heard: asyncio.Queue[wire.FromExecutor | str] = asyncio.Queue()
    gone = "the executor that tried it ended"
    await executor.connect(
        _MAX_FRAME_BYTES, heard.put_nowait, heard.put_nowait, lambda: heard.put_nowait(gone)
    )
    try:
        async with asyncio.timeout_at(deadline):
            message = await heard.get()
    except TimeoutError:
        raise CodeIsLate(modules, late) from None
    if isinstance(message, wire.LoadFailed):
        raise ModuleLoadError(message.module, message.reason, message.traceback)
    if isinstance(message, wire.WarmUpFailed):
        raise WarmUpFailed(message.function, message.reason, message.traceback)
    if not isinstance(message, wire.Ready):
        raise UnfitCode(f"task modules {modules}: {message}")
    executor.link.send(wire.Ping())
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await heard.get()
    except TimeoutError:
        answer = f"no answer to a self-check within {ANSWER_S:g} s"
    if not isinstance(answer, wire.Pong):
        raise UnfitCode(f"task modules {modules}: {answer}")
    return message.functions
