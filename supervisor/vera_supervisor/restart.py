"""Taking up what the store holds of an earlier run, before anything is started or accepted."""

import logging
from typing import Final

from vera_supervisor.clock import Clock
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.scheduling.events import Recovered
from vera_supervisor.store.protocol import Store

log = logging.getLogger(__name__)

#: Records read at a time: few enough for the loop to turn in between.
CHUNK: Final = 2_000


async def take_up(store: Store, dispatcher: Dispatcher, clock: Clock) -> int:
    """Let the scheduler know of all tasks that have not ended; return how many there are."""
    found = last = 0
    while records := await store.unended(last, CHUNK):
        last = records[-1].number
        found += len(records)
        others = {other for record in records for other in record.task.depends_on}
        # The scheduler knows those that have not ended: they are live, or in this very chunk.
        ended = await dispatcher.records.ends(others) if others else {}
        dispatcher.post(Recovered(tuple(records), clock.wall(), more=True, ended=ended))
    if found:
        dispatcher.post(Recovered((), clock.wall(), more=False))
        log.info("%d tasks of an earlier run are taken up", found)
    for function, count in sorted(dispatcher.scheduler.waiting.unknown().items()):
        log.warning(
            "%d tasks wait: no task module offers %r any more; add it and reload, or cancel them",
            count,
            function,
        )
    return found
