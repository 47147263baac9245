"""Ask a server again when it was too busy to answer, and keep what it said."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import requests
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import Future, RetryCallState

REPEAT_SECONDS = 120
LONGEST_PAUSE = 10
SERVERS_FAULT = 500
LOST = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def status_says_busy(answer: requests.Response) -> bool:
    """
    Whether the status of an answer puts the blame on the server.

    :param answer: of any server
    :return: true for 5xx
    """
    return answer.status_code >= SERVERS_FAULT


def ask_patiently(
    ask: Callable[[], requests.Response],
    *,
    what: str,
    repeat_if_lost: bool,
    note: Callable[[str], None],
    is_busy: Callable[[requests.Response], bool] = status_says_busy,
) -> requests.Response:
    """
    Ask, and as long as the server is too busy ask again, for `REPEAT_SECONDS`.

    :param ask: sends the request
    :param what: is asked, for the notes
    :param repeat_if_lost: whether it may also be asked again when nobody knows what became of the request:
        after a lost connection or a time-out
    :param note: is told of each answer that led to a repetition
    :param is_busy: whether an answer says that the server is
    :return: the last answer, good or not
    :raises requests.RequestException: when there was none
    """

    def take_note(state: RetryCallState) -> None:
        note(f"{datetime.now(timezone.utc):%H:%M:%S} {what}: {_said(state)}")

    repeat = retry_if_result(is_busy)
    return Retrying(
        retry=repeat | retry_if_exception_type(LOST) if repeat_if_lost else repeat,
        stop=stop_after_delay(REPEAT_SECONDS),
        wait=wait_exponential(multiplier=0.5, max=LONGEST_PAUSE),
        before_sleep=take_note,
        retry_error_callback=_last_answer,
    )(ask)


def _said(state: RetryCallState) -> str:
    if error := _outcome(state).exception():
        return repr(error)
    answer = _last_answer(state)
    return f"{answer.status_code} {answer.text[:500]}"


def _last_answer(state: RetryCallState) -> requests.Response:
    answer: requests.Response = _outcome(state).result()
    return answer


def _outcome(state: RetryCallState) -> Future:
    assert state.outcome is not None  # noqa: S101  # there was an attempt, for the type checker
    return state.outcome
