"""The fate of an asynchronous event as a table."""

import pytest

from lambent.dispatch.retry import Action, RetryRules, Step, next_step, read_waits
from lambent.errors import SettingsError
from lambent.invocation import OutcomeKind

RULES = RetryRules(attempts=3, waits_seconds=(60.0, 120.0))


@pytest.mark.parametrize(
    ("kind", "failures", "throttles", "age", "step"),
    [
        (OutcomeKind.RESULT, 0, 0, 0, Step(Action.DONE)),
        (OutcomeKind.RESULT, 2, 5, 99_999, Step(Action.DONE)),
        (OutcomeKind.FUNCTION_ERROR, 1, 0, 1, Step(Action.RETRY, 60.0)),
        (OutcomeKind.FUNCTION_ERROR, 2, 0, 61, Step(Action.RETRY, 120.0)),
        (OutcomeKind.FUNCTION_ERROR, 3, 0, 182, Step(Action.GIVE_UP, condition="RetriesExhausted")),
        (OutcomeKind.FUNCTION_ERROR, 1, 0, 21_600, Step(Action.GIVE_UP, condition="EventAgeExceeded")),
        (OutcomeKind.THROTTLED, 0, 1, 1, Step(Action.RETRY, 1.0)),
        (OutcomeKind.THROTTLED, 0, 4, 1, Step(Action.RETRY, 8.0)),
        (OutcomeKind.THROTTLED, 0, 40, 1, Step(Action.RETRY, 300.0)),
        (OutcomeKind.UNAVAILABLE, 0, 2, 1, Step(Action.RETRY, 2.0)),
        (OutcomeKind.THROTTLED, 0, 9, 21_600, Step(Action.GIVE_UP, condition="EventAgeExceeded")),
        (OutcomeKind.BAD_EVENT, 0, 0, 1, Step(Action.GIVE_UP, condition="RetriesExhausted")),
    ],
)
def test_each_end_of_a_try_has_its_next_step(kind, failures, throttles, age, step):
    assert next_step(kind, failures, throttles, age, RULES) == step


def test_the_last_wait_repeats_when_there_are_more_attempts_than_waits():
    rules = RetryRules(attempts=9, waits_seconds=(1.0, 5.0))
    assert [next_step(OutcomeKind.FUNCTION_ERROR, n, 0, 0, rules).wait_seconds for n in (1, 2, 3, 8)] == [
        1.0,
        5.0,
        5.0,
        5.0,
    ]


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-1", "1;2", "999999999"])
def test_waits_that_are_not_seconds_are_refused(text):
    with pytest.raises(SettingsError, match="async_retry_seconds"):
        read_waits(text)


def test_waits_are_read_as_seconds():
    assert read_waits("60, 120,0.5") == (60.0, 120.0, 0.5)
