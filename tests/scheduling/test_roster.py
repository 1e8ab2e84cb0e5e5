"""How many executors there are, and when one more or one less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import pool_policy, rounds
from tests.scheduling.desk import only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling.roster import FIRST_START_DELAY_S, MAX_START_DELAY_S, Roster
from vera_supervisor.scheduling.slot import Slot, SlotState

IDLE_TIMEOUT_S = 60.0


def roster_of(
    min_workers: int = 0, max_workers: int = 4, *, check_interval_s: float = 1e6
) -> Roster:
    policy = pool_policy(
        min_workers=min_workers,
        max_workers=max_workers,
        idle_timeout_s=IDLE_TIMEOUT_S,
        check_interval_s=check_interval_s,
    )
    return Roster(policy.size, policy.limits)


def ready(roster: Roster, now: float = 0.0) -> list[Slot]:
    slots = [slot for slot in roster if slot.state is SlotState.STARTING]
    for slot in slots:
        roster.rest(slot, now)
    return slots


def reset_alarm(roster: Roster, now: float) -> None:
    """Set the alarm anew if it has rung, as is done for all pools at once."""
    if roster.alarm.at <= now:
        roster.alarm.at = roster.next_deadline()


def assign(roster: Roster, now: float) -> Slot:
    slot = roster.take_idle()
    slot.assign("a", 1, now, 1e6)
    return slot


def test_the_minimum_is_started_without_a_task() -> None:
    roster = roster_of(2)
    assert roster.grow(0, 0.0) == [fx.Launch(1, seat=0), fx.Launch(2, seat=1)]
    assert roster.grow(0, 0.0) == []


def test_it_grows_with_what_waits_but_not_twice_for_the_same() -> None:
    roster = roster_of(0, 4)
    assert len(roster.grow(3, 0.0)) == 3
    assert roster.grow(3, 0.0) == []
    assert len(roster.grow(9, 0.0)) == 1
    assert roster.count == roster.size.max_workers
    assert roster.grow(9, 0.0) == []


def test_idle_executors_are_used_before_new_ones_are_started() -> None:
    roster = roster_of(0, 4)
    roster.grow(2, 0.0)
    ready(roster)
    assert roster.grow(2, 0.0) == []
    assert len(roster.grow(3, 0.0)) == 1


def test_one_that_leaves_holds_its_place_until_it_is_gone() -> None:
    roster = roster_of(1, 1)
    roster.grow(0, 0.0)
    (slot,) = ready(roster)
    roster.retire(slot, 0.0)
    assert roster.grow(1, 0.0) == []
    roster.lost(slot, 1.0)
    assert len(roster.grow(0, 1.0)) == 1


def test_it_heals_at_once_when_one_that_worked_is_lost() -> None:
    roster = roster_of(2)
    roster.grow(0, 0.0)
    slots = ready(roster)
    roster.lost(slots[0], 5.0)
    assert roster.idle == [slots[1]]
    assert roster.grow(0, 5.0) == [fx.Launch(3)]


def test_executors_that_die_at_birth_are_replaced_ever_more_slowly() -> None:
    roster, now, waits = roster_of(1), 0.0, []
    for _ in range(14):
        (launch,) = only(fx.Launch, roster.grow(0, now))
        slot = roster.slots.get(launch.slot_id)
        assert slot is not None
        roster.lost(slot, now)
        retry_at = roster.next_deadline()
        assert roster.grow(0, retry_at - 1e-6) == []
        waits.append(retry_at - now)
        now = retry_at
    assert waits[:3] == pytest.approx([FIRST_START_DELAY_S * factor for factor in (1, 2, 4)])
    assert waits[-1] == pytest.approx(MAX_START_DELAY_S)
    assert roster.failed_starts == 14


def test_one_that_gets_ready_ends_the_slowness() -> None:
    roster = roster_of(1)
    for now in (0.0, 10.0, 20.0):
        roster.grow(0, now)
        roster.lost(next(iter(roster)), now)
    roster.grow(0, 30.0)
    (slot,) = ready(roster, 30.0)
    assert roster.failed_starts == 0
    roster.lost(slot, 31.0)
    assert len(roster.grow(0, 31.0)) == 1


def test_the_wait_for_a_new_start_asks_for_one_wakeup_and_not_for_ever() -> None:
    roster = roster_of(1)
    roster.grow(0, 0.0)
    roster.lost(next(iter(roster)), 0.0)
    now = roster.next_deadline()
    roster.due(now)
    roster.grow(0, now)
    assert roster.next_deadline() > now + 1.0, "the new one has its full time to get ready"


def test_each_leaves_at_its_own_time_and_the_minimum_stays() -> None:
    roster = roster_of(1, 3)
    roster.grow(3, 0.0)
    for now, slot in enumerate(list(roster), start=1):
        roster.rest(slot, float(now))
    left: list[tuple[float, fx.Effect]] = []
    for _ in range(5):
        now_ = roster.next_deadline()
        if now_ > 1000.0:
            break
        left += [(now_, effect) for effect in roster.shrink(now_)]
        for slot in list(roster):
            if slot.state is SlotState.RETIRING:
                roster.lost(slot, now_)
    assert left == [
        (1.0 + IDLE_TIMEOUT_S, fx.Retire(1)),
        (2.0 + IDLE_TIMEOUT_S, fx.Retire(2)),
    ]
    assert len(roster) == 1


@pytest.mark.parametrize("check_interval_s", [7.0, 30.0, 60.0, 90.0])
def test_self_checks_do_not_keep_an_idle_executor(check_interval_s: float) -> None:
    roster = roster_of(0, 2, check_interval_s=check_interval_s)
    roster.grow(2, 0.0)
    ready(roster)
    now = 0.0
    while len(roster.idle) and now <= IDLE_TIMEOUT_S:
        now = roster.next_deadline()
        roster.shrink(now)
        for effect in only(fx.Check, roster.due(now)):
            slot = roster.slots.get(effect.slot_id)
            assert slot is not None
            roster.answered(slot, now)
    assert now == IDLE_TIMEOUT_S
    assert [slot.state for slot in roster] == [SlotState.RETIRING] * 2


def test_however_long_they_are_idle_the_minimum_stays() -> None:
    roster = roster_of(2, 4)
    roster.grow(4, 0.0)
    ready(roster)
    assert len(roster.shrink(1e5)) == 2
    assert roster.shrink(1e6) == []
    assert len(roster.idle) == 2


def test_while_those_too_many_are_on_their_way_out_it_need_not_be_woken() -> None:
    roster = roster_of(1, 2)
    roster.grow(2, 0.0)
    ready(roster)
    (leaving,) = roster.shrink(IDLE_TIMEOUT_S)
    assert isinstance(leaving, fx.Retire)
    assert roster.shrink(IDLE_TIMEOUT_S) == []
    assert roster.next_deadline() > IDLE_TIMEOUT_S


def test_those_that_fail_together_slow_the_start_once() -> None:
    roster = roster_of(4, 4)
    roster.grow(0, 0.0)
    for slot in list(roster):
        roster.lost(slot, 0.0)
    assert roster.failed_starts == 4
    assert roster.next_deadline() == pytest.approx(FIRST_START_DELAY_S)
    assert len(roster.grow(0, roster.next_deadline())) == 1


def test_a_busy_one_never_leaves() -> None:
    roster = roster_of(0, 2)
    roster.grow(2, 0.0)
    ready(roster)
    busy = assign(roster, 0.0)
    assert roster.shrink(1e5) == [fx.Retire(3 - busy.slot_id)]
    assert busy.state is SlotState.BUSY


def test_with_a_lower_maximum_idle_ones_leave_at_once() -> None:
    roster = roster_of(0, 4)
    roster.grow(4, 0.0)
    ready(roster)
    assign(roster, 0.0)
    roster.size = pool_policy(max_workers=2, idle_timeout_s=IDLE_TIMEOUT_S).size
    assert roster.overfull
    assert len(roster.shrink(0.0)) == 2
    assert not roster.overfull


def test_the_warmest_takes_the_next_task_and_a_self_check_does_not_warm() -> None:
    roster = roster_of(0, 3, check_interval_s=10.0)
    roster.grow(3, 0.0)
    for now, slot in enumerate(list(roster)):
        roster.rest(slot, float(now))
    for effect in only(fx.Check, roster.due(10.0)):
        slot_ = roster.slots.get(effect.slot_id)
        assert slot_ is not None
        roster.answered(slot_, 10.0)
    assert [slot.slot_id for slot in roster.idle] == [1, 2, 3]
    assert roster.take_idle().slot_id == 3


def test_one_that_passed_its_self_check_leaves_no_later_for_that() -> None:
    roster = roster_of(0, 1, check_interval_s=IDLE_TIMEOUT_S - 2.0)
    roster.grow(1, 0.0)
    (slot,) = ready(roster)
    roster.due(IDLE_TIMEOUT_S - 2.0)
    reset_alarm(roster, IDLE_TIMEOUT_S - 2.0)
    roster.answered(slot, IDLE_TIMEOUT_S - 1.0)
    assert roster.alarm.at == roster.next_deadline() == IDLE_TIMEOUT_S


def test_one_that_was_not_asked_gives_no_sign_of_life() -> None:
    roster = roster_of(0, 1)
    roster.grow(1, 0.0)
    (slot,) = ready(roster)
    roster.answered(slot, 5.0)
    assert roster.idle == [slot]


def test_killed_ones_are_not_idle() -> None:
    roster = roster_of(0, 2)
    roster.grow(2, 0.0)
    for slot in ready(roster):
        assert roster.kill(slot, 1.0) == [fx.Kill(slot.slot_id)]
    assert roster.idle == []
    assert roster.given_up(1.0) == []
    assert len(roster.given_up(10.0)) == 2


def test_counts_and_repr_tell_how_things_stand() -> None:
    roster = roster_of(0, 3)
    assert repr(roster) == "<Roster empty>"
    roster.grow(2, 0.0)
    ready(roster)
    roster.grow(3, 0.0)
    assign(roster, 0.0)
    assert repr(roster) == "<Roster 1 starting, 1 idle, 1 busy>"
    assert roster.counts()["retiring"] == 0


def test_the_alarm_rings_for_one_that_has_been_idle_too_long() -> None:
    roster = roster_of(0, 1)
    roster.grow(1, 0.0)
    ready(roster)
    slot = assign(roster, 0.0)
    reset_alarm(roster, 1e5)
    roster.rest(slot, 100.0)
    assert roster.alarm.at == roster.next_deadline() == 100.0 + IDLE_TIMEOUT_S


def test_the_alarm_rings_for_one_that_is_too_many_only_since_another_came() -> None:
    roster = roster_of(1, 2)
    roster.grow(1, 0.0)
    ready(roster)
    reset_alarm(roster, 1e5)
    assert roster.alarm.at == 1e6, "the only one stays"
    roster.grow(2, 50.0)
    assert roster.alarm.at == roster.next_deadline() == IDLE_TIMEOUT_S


def test_the_alarm_rings_at_once_for_whatever_becomes_due_first() -> None:
    roster = roster_of(0, 2)
    roster.grow(2, 0.0)
    first, second = ready(roster)
    reset_alarm(roster, 1e5)
    roster.kill(second, 1.0)
    assert roster.alarm.at == second.deadline
    roster.lost(second, 2.0)
    assert roster.alarm.at < roster.next_deadline(), "it may ring for nothing, once"
    reset_alarm(roster, roster.alarm.at)
    assert roster.alarm.at == roster.next_deadline() == first.idle_since + IDLE_TIMEOUT_S


@rounds(100)
@given(
    st.integers(0, 3),
    st.integers(1, 5),
    st.sampled_from([25.0, 45.0, 1e6]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["grow", "ready", "busy", "free", "lose", "shrink", "wait", "answer", "kill"]
            ),
            st.integers(0, 9),
        )
    ),
)
def test_whatever_happens_the_bounds_hold(
    min_workers: int,
    max_workers: int,
    check_interval_s: float,
    moves: list[tuple[str, int]],
) -> None:
    roster = roster_of(
        min(min_workers, max_workers), max_workers, check_interval_s=check_interval_s
    )
    for now, (move, number) in enumerate(moves):
        slots = list(roster)
        slot = slots[number % len(slots)] if slots else None
        if move == "grow":
            roster.grow(number, now * 10.0)
        elif move == "shrink":
            busy = [s for s in roster if s.state is SlotState.BUSY]
            staying = roster._staying()
            roster.shrink(now * 10.0)
            assert all(s.state is SlotState.BUSY for s in busy)
            assert roster._staying() >= min(staying, roster.size.min_workers)
        elif move == "wait":
            now_ = now * 10.0
            roster.due(now_)
            for given_up in roster.given_up(now_):
                roster.lost(given_up, now_)
            reset_alarm(roster, now_)
            assert roster.alarm.at > now_ or roster.next_deadline() == roster.alarm.at
        elif slot is None:
            continue
        elif move == "kill":
            roster.kill(slot, now * 10.0)
        elif move == "answer":
            roster.answered(slot, now * 10.0)
        elif move == "lose":
            roster.lost(slot, now * 10.0)
        elif move == "ready" and slot.state is SlotState.STARTING:
            roster.rest(slot, now * 10.0)
        elif move == "busy" and roster.idle:
            assign(roster, now * 10.0)
        elif move == "free" and slot.state is SlotState.BUSY:
            roster.rest(slot, now * 10.0)
        assert roster.alarm.at <= roster.next_deadline(), "it would be woken too late"
        assert len(roster) <= max_workers
        idle = [s for s in roster if s.state is SlotState.IDLE]
        assert sorted(s.slot_id for s in roster.idle) == sorted(s.slot_id for s in idle)
