"""The pool's decisions as tables."""

import pytest

from lambent.pool.plan import Fleet, expired, longest_idle


class Env:
    def __init__(self, name: str, idle_since: float = 0.0, expires: float = 1e9) -> None:
        self.name = name
        self.idle_since = idle_since
        self.expires = expires

    def __repr__(self) -> str:
        return self.name


class Caller:
    def __init__(self, gave_up: bool = False) -> None:
        self.gave_up = gave_up

    def done(self) -> bool:
        return self.gave_up


def fleet(idle: int = 0, busy: int = 0, starting: int = 0) -> Fleet[Env, Caller]:
    made: Fleet[Env, Caller] = Fleet("f")
    made.idle = [Env(f"e{n}", idle_since=float(n)) for n in range(idle)]
    made.busy = busy
    made.starting = starting
    return made


def test_the_most_recently_used_environment_goes_first():
    held = fleet(idle=3)
    assert [held.take_idle().name, held.take_idle().name] == ["e2", "e1"]  # type: ignore[union-attr]
    assert repr(held) == "<Fleet f: 1 idle, 2 busy, 0 starting, 0 waiting>"


def test_no_environment_is_idle_in_an_empty_fleet():
    held = fleet()
    assert held.take_idle() is None
    assert held.empty


@pytest.mark.parametrize(
    ("starting", "waiting", "gave_up", "needed"),
    [(0, 1, 0, 1), (1, 1, 0, 0), (1, 3, 0, 2), (3, 1, 0, 0), (0, 2, 1, 1), (0, 0, 0, 0)],
)
def test_one_start_is_made_for_each_waiter_that_no_start_will_serve(starting, waiting, gave_up, needed):
    held = fleet(starting=starting)
    for n in range(waiting):
        held.wait(Caller(gave_up=n < gave_up))
    assert held.starts_needed() == needed


def test_a_freed_environment_goes_to_the_first_in_line_that_still_waits():
    held = fleet()
    gone, first, second = Caller(gave_up=True), Caller(), Caller()
    for caller in (gone, first, second):
        held.wait(caller)
    assert held.place(Env("a"), now=1.0) == ("serve", first)
    assert repr(held) == "<Fleet f: 0 idle, 1 busy, 0 starting, 1 waiting>"


def test_a_freed_environment_that_nobody_waits_for_is_kept():
    held, env = fleet(), Env("a")
    assert held.place(env, now=7.0) == ("keep", None)
    assert held.idle == [env]
    assert env.idle_since == 7.0


def test_a_retired_version_gives_up_its_idle_environments_and_keeps_none():
    held = fleet(idle=2, busy=1)
    assert [env.name for env in held.retire()] == ["e0", "e1"]
    held.busy -= 1
    assert held.place(Env("busy one"), now=1.0) == ("discard", None)
    assert held.empty


def test_who_waits_for_a_version_when_it_is_retired_is_still_served():
    held = fleet(starting=1)
    caller = Caller()
    held.wait(caller)
    held.retire()
    held.starting -= 1
    assert held.place(Env("late"), now=1.0) == ("serve", caller)


def test_environments_age_out_by_idle_time_and_by_end_of_life():
    held = fleet(idle=3)
    held.idle[2].expires = 5.0
    assert [env.name for env in expired(held, now=10.0, idle_seconds=9.5)] == ["e0", "e2"]
    assert [env.name for env in held.idle] == ["e1"]


def test_the_longest_idle_environment_of_any_version_makes_room():
    young, old = fleet(idle=1), fleet(idle=1)
    young.idle[0].idle_since, old.idle[0].idle_since = 9.0, 3.0
    assert longest_idle([young, old, fleet(busy=4)]) == (old, old.idle[0])
    assert longest_idle([fleet(busy=4)]) is None
