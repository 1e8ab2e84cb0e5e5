"""Which code new executors run, and when the code of an earlier generation may go."""

import logging
from collections.abc import Callable, Iterator, Mapping

from vera_supervisor.pool.launch import Launcher
from vera_supervisor.pool.outfits import Outfit
from vera_supervisor.pool.trial import Candidate
from vera_worker.handlers import FunctionInfo

log = logging.getLogger(__name__)


class Generation:
    """The executors that run one state of the task modules' code."""

    def __init__(self, number: int, code: Candidate) -> None:
        self.number = number
        #: How many executors of it there are, or are being started.
        self.executors = 0
        self._code = code

    @property
    def launcher(self) -> Launcher:
        """What starts its executors."""
        return self._code.launcher

    @property
    def outfits(self) -> Mapping[str, Outfit]:
        """What the executors of each pool are given."""
        return self._code.outfits

    def compare(self, functions: tuple[FunctionInfo, ...]) -> None:
        """Say so if a fork server that was lost has been replaced by one with other code."""
        if functions != self._code.functions:
            log.warning(
                "a fork server was lost, and the task modules that were imported anew offer other "
                "functions than before: reload, to have all of the worker go by them"
            )


class Generations:
    """All that are not gone; `close` is called with the launcher of one that goes."""

    def __init__(self, close: Callable[[Launcher], None]) -> None:
        self._close = close
        self._count = 0
        #: The last one is that of new executors.
        self._all: list[Generation] = []

    def __iter__(self) -> Iterator[Generation]:
        return iter(self._all)

    def adopt(self, code: Candidate) -> None:
        """Have all new executors run `code`; the generation before goes with its last one."""
        self._count += 1
        self._all.append(Generation(self._count, code))
        for generation in self._all[:-1]:
            self._close_if_unused(generation)

    def begin(self) -> Generation:
        """Return the generation that one more executor is of."""
        generation = self._all[-1]
        generation.executors += 1
        return generation

    def end(self, generation: Generation) -> None:
        """An executor of it is gone."""
        generation.executors -= 1
        self._close_if_unused(generation)

    def _close_if_unused(self, generation: Generation) -> None:
        if generation is not self._all[-1] and not generation.executors:
            self._all.remove(generation)
            self._close(generation.launcher)
            log.info("generation %d of the task modules is gone", generation.number)
