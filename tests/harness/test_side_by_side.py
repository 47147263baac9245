"""What fails of what was begun at once takes nothing else with it."""

from threading import Barrier

import pytest

from side_by_side import SideBySide


def fails():
    raise LookupError("no such scene")


def test_each_is_what_its_maker_returned_or_raised():
    things = SideBySide({"good": lambda: 1, "bad": fails, "also good": lambda: 2})

    things.wait()

    assert (things["good"], things["also good"]) == (1, 2)
    for _ in range(2):  # whoever asks, and however often
        with pytest.raises(LookupError, match="no such scene"):
            things["bad"]
    assert list(things) == ["good", "bad", "also good"]


def test_all_are_begun_at_once():
    together = Barrier(2, timeout=60)
    things = SideBySide({"one": together.wait, "other": together.wait})

    assert {things["one"], things["other"]} == {0, 1}
