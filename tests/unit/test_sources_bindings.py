"""What may be bound."""

import pytest

from lambent.sources.bindings import InvalidQueue, InvalidSubject, ReservedSubject, check_queue, check_subject


@pytest.mark.parametrize(
    "subject", ["a", "orders.created", "orders.*.created", "orders.>", "a.*", "ü.b", "a-b_c", "x" * 512]
)
def test_subjects_that_nats_takes_are_accepted(subject: str) -> None:
    check_subject(subject)


@pytest.mark.parametrize(
    "subject",
    ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB x 0", "a.b*", "a.>b", "a.>.b", "a.\x00", "x" * 513],
)
def test_what_is_no_subject_is_refused(subject: str) -> None:
    with pytest.raises(InvalidSubject):
        check_subject(subject)


@pytest.mark.parametrize(
    "subject",
    [
        "$SYS.REQ",
        "$JS.API.INFO",
        "$KV.x.y",
        "$O.x",
        "$other",
        "_INBOX.a",
        "_R_.a",
        "lambent",
        "lambent.logs.a",
        "*",
        ">",
        "*.a",
    ],
)
def test_subjects_of_nats_and_of_lambent_are_refused(subject: str) -> None:
    with pytest.raises(ReservedSubject, match="reserved"):
        check_subject(subject)


@pytest.mark.parametrize("subject", ["lambents", "my.lambent", "a.$SYS", "inbox"])
def test_subjects_that_only_resemble_reserved_ones_are_accepted(subject: str) -> None:
    check_subject(subject)


@pytest.mark.parametrize("queue", ["", " ", "a b", "*", ">", "a.", "x" * 129])
def test_what_is_no_queue_group_is_refused(queue: str) -> None:
    with pytest.raises(InvalidQueue):
        check_queue(queue)


def test_queue_groups_may_have_dots_between_words() -> None:
    check_queue("team-1.workers_2")
