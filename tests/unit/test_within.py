"""Waiting for a limited time."""

import asyncio

import pytest

from airflow_provider_mage._waiting.within import within


async def soon(answer=7):
    await asyncio.sleep(0)
    return answer


def test_answer_in_time_is_returned():
    assert asyncio.run(within(60, soon())) == 7
    assert asyncio.run(within(None, soon())) == 7


def test_error_is_raised():
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(within(60, fail()))


def test_what_takes_too_long_is_cancelled():
    ended = []

    async def last():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(within(0.01, last()))
    assert ended


@pytest.mark.parametrize("seconds", [60, None, 0])
def test_cancellation_is_never_swallowed(seconds):
    """Also not one that comes as what is waited for is done, or as the time is over."""

    async def scenario():
        answer = asyncio.get_running_loop().create_future()
        waits = asyncio.create_task(within(seconds, answer))
        await asyncio.sleep(0)
        if seconds:
            answer.set_result(7)
        waits.cancel()
        await asyncio.wait({waits})
        return waits.cancelled()

    assert asyncio.run(scenario())
