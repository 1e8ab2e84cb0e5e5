"""Executors to test: one stand-in for the supervisor, a fresh executor for each test."""

from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.executor.harness import SAMPLES, Child, StandIn


class Start(Protocol):
    """Starts an executor that is gone when the test is over; takes what `StandIn.start` takes."""

    def __call__(self, *modules: str, **options: object) -> Child: ...


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    with StandIn(*SAMPLES) as stand_in:
        yield stand_in


@pytest.fixture
def start(stand_in: StandIn) -> Iterator[Start]:
    children: list[Child] = []

    def start(*modules: str, **options: object) -> Child:
        children.append(stand_in.start(*modules, **options))  # type: ignore[arg-type]
        return children[-1]

    yield start
    for child in children:
        child.close()


@pytest.fixture
def child(start: Start) -> Child:
    """Return an executor with the demo functions and the samples, ready for a task."""
    child = start(*SAMPLES)
    child.ready()
    return child
