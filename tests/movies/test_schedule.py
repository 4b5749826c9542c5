from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.movies.schedule import Part, Schedule

schedules = st.builds(Schedule, st.integers(1, 40), st.integers(1, 20), st.integers(1, 50))


@given(schedules, st.integers(0, 500))
def test_what_is_upcoming_is_needed_when_it_says_and_not_before(schedule: Schedule, step: int) -> None:
    upcoming = schedule.upcoming(step, 4)
    assert len(upcoming) == min(4, schedule.slots)
    for turn, first_step in upcoming.items():
        assert first_step > step
        held = [(s + turn.slot * schedule.life_steps // schedule.slots) // schedule.life_steps for s in (first_step - 1, first_step)]
        assert held == [turn.number - 1, turn.number]
        assert turn not in schedule.needed(step)


@given(schedules, st.integers(0, 500), st.integers(1, 5))
def test_slots_are_refilled_one_after_another(schedule: Schedule, step: int, steps: int) -> None:
    def held(at: int) -> set[tuple[int, int]]:
        return {(slot, (at + slot * schedule.life_steps // schedule.slots) // schedule.life_steps) for slot in range(schedule.slots)}

    renewed = sum(len(held(s + 1) - held(s)) for s in range(step, step + steps))
    assert renewed <= schedule.renewed_within(steps) + 1


@given(schedules, st.integers(0, 500))
def test_a_step_takes_its_clips_from_the_slots_in_turn(schedule: Schedule, step: int) -> None:
    slots = [schedule.turn(step, index).slot for index in range(schedule.batch_size)]
    assert max(slots.count(slot) for slot in slots) - min(slots.count(slot) for slot in range(schedule.slots)) <= 1
    assert set(schedule.needed(step)) == {schedule.turn(step, index) for index in range(schedule.batch_size)}


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 24), st.integers(1, 50), st.integers(0, 500))
def test_parts_share_a_step_and_no_slot_where_the_processes_divide_the_slots(count: int, per_process: int, slots: int, life: int, step: int) -> None:
    whole = Schedule(count * per_process, slots, life)
    parts = [Schedule(count * per_process, slots, life, Part(index, count)) for index in range(count)]
    assert sorted(index for part in parts for index in part.indices) == list(range(whole.batch_size))
    needed = [set(part.needed(step)) for part in parts]
    assert set().union(*needed) == set(whole.needed(step))
    for part, turns in zip(parts, needed, strict=True):
        own = {turn.slot for turn in turns} | {turn.slot for turn in part.needed(step + 1)}
        assert own <= {turn.slot for turn in part.upcoming(step, slots)}
    if slots % count == 0:
        every = [turn for turns in needed for turn in turns]
        assert len(every) == len(set(every))
        assert sorted(turn for part in parts for turn in part.upcoming(step, slots)) == sorted(whole.upcoming(step, slots))
