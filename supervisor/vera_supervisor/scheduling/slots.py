"""All slots by id, whichever pool they are of, and when the first of them has to be looked at."""

from collections.abc import Iterable, Iterator

from vera_supervisor.scheduling.slot import Alarm, Slot, SlotState


class Slots:
    """What the rosters of all pools share."""

    def __init__(self) -> None:
        #: Rings no later than at the next deadline of any slot or roster; read after every event.
        self.alarm = Alarm()
        #: When an executor last got ready, took or ended a task, or passed a self-check.
        self.last_sign_of_life: float | None = None
        #: Of the code that new executors run.
        self.generation = 1
        self._by_id: dict[int, Slot] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._by_id.values())

    def get(self, slot_id: int) -> Slot | None:
        """Return that slot, or None when its executor is gone."""
        return self._by_id.get(slot_id)

    def next_id(self) -> int:
        """Return an id that no slot has had before."""
        self._next_id += 1
        return self._next_id - 1

    def add(self, slot: Slot) -> None:
        """Take in a new slot."""
        self._by_id[slot.slot_id] = slot

    def remove(self, slot: Slot) -> None:
        """Forget a slot whose executor is gone."""
        del self._by_id[slot.slot_id]

    def counts(self) -> dict[str, int]:
        """Return how many executors are in each state."""
        return count(self)


def count(slots: Iterable[Slot]) -> dict[str, int]:
    """Return how many of these slots are in each state."""
    counts = {state.name.lower(): 0 for state in SlotState}
    for slot in slots:
        counts[slot.state.name.lower()] += 1
    return counts
