"""A dispatcher among fakes: executors on paper, a store that waits to be told, a standing clock."""

from random import Random
from typing import Any

from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_pool import FakePool
from tests.fakes.makers import make_policy
from tests.fakes.slow_store import SlowStore
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.journal import Journal
from vera_supervisor.metrics import Metrics
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.scheduler import Scheduler


class Bench:
    """Everything that a dispatcher touches; to be built on a running loop."""

    def __init__(self, executors: int = 1, **policy: Any) -> None:
        self.clock = FakeClock()
        self.store = SlowStore()
        self.journal = Journal()
        self.metrics = Metrics()
        policy = {"min_workers": executors, "max_workers": max(1, executors)} | policy
        self.scheduler = Scheduler(make_policy(**policy), Random(7))
        self.dispatcher = Dispatcher(
            self.scheduler, self.store, self.journal, self.metrics, self.clock
        )
        self.pool = FakePool(self.dispatcher.post)
        self.dispatcher.attach(self.pool.as_pool())
        self.dispatcher.post(ev.TimePassed())
        self.pool.get_ready()
