"""Many triggers, one poller: what it costs, what it promises, and what becomes of a feed that lies."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mage._runs import poller as poller_module
from airflow_provider_mage._runs.poller import RunPoller, Watcher
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage._runs.run_lists import FEED_LENGTH, LONGEST_PAGE, PAGE_EVERY
from airflow_provider_mage._runs.stall import HandleStall
from airflow_provider_mage._runs.watch import RunWatch
from airflow_provider_mage._waiting.connected import Connected
from airflow_provider_mage._waiting.drive import wait_async
from airflow_provider_mage._waiting.watch import Reachable, Unreachable
from airflow_provider_mage._waiting.within import within
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import (
    MageAuthError,
    MageError,
    MageNotFoundError,
    MageTransportError,
    StalledError,
)
from airflow_provider_mage.api.models import PipelineRun
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage.triggers.pipeline import _pollers, poller_of
from airflow_provider_mage.triggers.threads import threads_of
from fakes import faults, virtual_time
from fakes.mage import FakeMage

FEED = r"/pipeline_runs$"


def connect(server):
    url = f"{server.url}/api"
    auth = MageAuth(url, Credentials(server.email, server.password), timeout=5)
    return MageClient(MageSession(url, auth=auth, timeout=5, retry_for=0))


def asks(server):
    """Ask a server as a trigger does, over a connection that nobody changes."""
    client = connect(server)
    return partial(asyncio.to_thread, Connected(lambda: client).ask)


@pytest.fixture
def schedule(mage):
    return mage.pipeline_schedule("daily_orders")


async def until_over(poller, run_id, poll_interval=10.0, *, gives_up=True):
    """Return the time at which the run was seen to be over, or the first error, if that ends the waiting."""
    async with poller.watch(Watcher(run_id, poll_interval)) as sightings:
        while True:
            sighting = await sightings.get()
            if isinstance(sighting, (MageError, Unreachable)) and gives_up:
                return getattr(sighting, "error", sighting)
            if isinstance(sighting, PipelineRun) and sighting.status.is_terminal:
                return asyncio.get_running_loop().time()


@asynccontextmanager
async def waiting(poller, run_ids, poll_interval=10.0, *, gives_up=True):
    """Let everybody wait, and give back who waits for what."""
    tasks = {
        run_id: asyncio.create_task(until_over(poller, run_id, poll_interval, gives_up=gives_up))
        for run_id in run_ids
    }
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("count", [1, 2, 3, 40, 300])
def test_a_round_costs_two_requests_however_many_runs_are_waited_for(mage, schedule, count):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(count)]

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids):
            await asyncio.sleep(60)
            before = mage.count("GET", "/pipeline_runs")
            await asyncio.sleep(100)
            return mage.count("GET", "/pipeline_runs") - before

    assert virtual_time.run(scenario()) <= 2 * 12  # rounds of 9 to 10 s


@pytest.mark.parametrize(("groups", "blocks"), [(1, 50), (4, 50), (40, 5)])
def test_a_round_costs_three_requests_however_many_blocks_are_waited_for(mage, groups, blocks):
    """The list of what ended last, that of the active runs with their blocks, and one look or page."""
    names = [f"block_{number}" for number in range(blocks)]
    pipelines = [
        mage.pipeline(f"pipeline_{number}", names, polls_to_finish=None).uuid for number in range(groups)
    ]
    run_ids = {mage.pipeline_run(mage.pipeline_schedule(name)).id: name for name in pipelines}

    async def one(poller, run_id, seen):
        async with poller.watch(Watcher(run_id, 10.0, None, run_ids[run_id])) as sightings:
            while True:
                seen.append((await sightings.get()).block_runs)

    async def scenario():
        poller, seen = RunPoller(asks(mage)), []
        tasks = [asyncio.create_task(one(poller, run_id, seen)) for run_id in run_ids for _ in names]
        await asyncio.sleep(60)
        for run_id in run_ids:
            mage.advance(run_id)
        before, _ = mage.count("GET", "/pipeline_runs"), seen.clear()
        await asyncio.sleep(100)
        count = mage.count("GET", "/pipeline_runs") - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return count, seen

    requests, seen = virtual_time.run(scenario())
    assert requests <= (3 if groups > 2 else 1) * 12  # rounds of 9 to 10 s
    # Everybody sees the blocks of its run in every round.
    assert len(seen) >= groups * blocks * 9
    assert all(len(block_runs) == blocks for block_runs in seen)


def test_blocks_are_looked_at_run_by_run_where_their_list_cannot_be_read(mage):
    pipelines = [mage.pipeline(f"pipeline_{number}", ["a"], polls_to_finish=None).uuid for number in range(4)]
    run_ids = {mage.pipeline_run(mage.pipeline_schedule(name)).id: name for name in pipelines}
    broken = faults.Fault(
        "broken", is_processed=False, change=lambda *_: faults.Answer.of({"error": {"code": 500}})
    )
    mage.inject(broken, times=None, match=("GET", r"pipeline_uuid"))

    async def one(poller, run_id):
        async with poller.watch(Watcher(run_id, 10.0, None, run_ids[run_id])) as sightings:
            while not getattr(await sightings.get(), "block_runs", ()):
                pass

    async def scenario():
        poller = RunPoller(asks(mage))
        tasks = [asyncio.create_task(one(poller, run_id)) for run_id in run_ids]
        await asyncio.sleep(5)
        for run_id in run_ids:
            mage.advance(run_id)
        await asyncio.wait_for(asyncio.gather(*tasks), 60)

    virtual_time.run(scenario())


@pytest.mark.parametrize("count", [1, 300])
def test_the_end_of_a_run_is_noticed_within_its_poll_interval(mage, schedule, count):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(count)]

    async def scenario():
        loop = asyncio.get_running_loop()
        delays = []
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(100)
            for run_id in run_ids[:20]:
                await asyncio.sleep(3.3)
                mage.finish(run_id)
                ended = loop.time()
                delays.append(await tasks[run_id] - ended)
        return delays

    delays = virtual_time.run(scenario())
    assert max(delays) <= 10.0


def test_the_shortest_poll_interval_of_all_is_kept(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(20)]
    urgent = mage.pipeline_run(schedule).id

    async def scenario():
        poller = RunPoller(asks(mage))
        async with waiting(poller, run_ids, poll_interval=60.0), waiting(poller, [urgent], 2.0) as tasks:
            await asyncio.sleep(200)
            ended = asyncio.get_running_loop().time()
            mage.finish(urgent)
            return await tasks[urgent] - ended

    assert virtual_time.run(scenario()) <= 2.0


def test_more_runs_may_end_between_two_looks_than_one_look_holds(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(3 * FEED_LENGTH)]

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(60)
            ended = asyncio.get_running_loop().time()
            for run_id in run_ids:
                mage.finish(run_id)
            return max(await asyncio.gather(*tasks.values())) - ended

    assert virtual_time.run(scenario()) <= 10.0


def test_a_run_that_ended_long_before_anybody_waited_is_found(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(5)]
    for run_id in run_ids:
        mage.finish(run_id)
    for _ in range(3 * FEED_LENGTH):
        mage.finish(mage.pipeline_run(schedule).id)

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.gather(*tasks.values())
            return asyncio.get_running_loop().time()

    assert virtual_time.run(scenario()) <= 10.0


def test_a_deleted_run_is_the_trouble_of_its_own_watcher_only(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(6)]

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(30)
            del mage.pipeline_runs[run_ids[2]]
            await asyncio.sleep(120)
            return {run_id: task.result() for run_id, task in tasks.items() if task.done()}

    told = virtual_time.run(scenario())
    assert list(told) == [run_ids[2]]
    assert isinstance(told[run_ids[2]], MageNotFoundError)


def test_refused_credentials_are_everybodys_trouble(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(6)]

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(30)
            mage._account.password = "another one"
            mage.revoke_all_tokens()
            return await asyncio.gather(*tasks.values())

    assert all(isinstance(error, MageAuthError) for error in virtual_time.run(scenario()))


FORBIDDEN = {"error": {"code": 403, "message": "Unauthorized access.", "type": "unauthorized_access"}}
UNREADABLE_FEEDS = {
    "forbidden": faults.Fault("403", is_processed=False, change=lambda *_: faults.Answer.of(FORBIDDEN)),
    "crashes": faults.crash("'bogus' is not among the defined enum values."),
    "no list": faults.Fault(
        "odd", is_processed=False, change=lambda *_: faults.Answer.of({"pipeline_runs": {"id": 1}})
    ),
}


@pytest.mark.parametrize("why", UNREADABLE_FEEDS)
def test_a_feed_that_cannot_be_read_is_done_without(mage, schedule, why):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(6)]
    mage.inject(UNREADABLE_FEEDS[why], times=None, match=("GET", FEED))

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(60)
            for run_id in run_ids:
                mage.finish(run_id)
            ended = asyncio.get_running_loop().time()
            return max(await asyncio.gather(*tasks.values())) - ended

    assert virtual_time.run(scenario()) <= 10.0
    assert mage.count("GET", FEED) <= 2


def test_an_odd_row_in_the_feed_costs_the_others_nothing(mage, schedule, edited, caplog):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(6)]
    odd = edited(lambda answer: answer["pipeline_runs"].insert(0, {"id": 1}))
    mage.inject(odd, times=None, match=("GET", FEED))

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(60)
            for run_id in run_ids:
                mage.finish(run_id)
            ended = asyncio.get_running_loop().time()
            return max(await asyncio.gather(*tasks.values())) - ended

    assert virtual_time.run(scenario()) <= 10.0
    assert mage.count("GET", FEED) > 2
    assert caplog.text.count("It is left out.") == 1


def test_user_with_a_role_in_one_pipeline_only_waits_by_looking_at_each_run():
    with FakeMage(role="nobody", pipeline_roles={"daily_orders": "editor"}, polls_to_finish=None) as server:
        server.example_pipelines()
        schedule = server.pipeline_schedule("daily_orders")
        run_ids = [server.pipeline_run(schedule).id for _ in range(6)]

        async def scenario():
            async with waiting(RunPoller(asks(server)), run_ids) as tasks:
                await asyncio.sleep(60)
                for run_id in run_ids:
                    server.finish(run_id)
                ended = asyncio.get_running_loop().time()
                return max(await asyncio.gather(*tasks.values())) - ended

        assert virtual_time.run(scenario()) <= 10.0


def test_a_feed_that_can_be_read_again_is_used_again(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(30)]
    mage.inject(UNREADABLE_FEEDS["crashes"], match=("GET", FEED))

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids):
            await asyncio.sleep(100)
            before = mage.count()
            await asyncio.sleep(100)
            return mage.count() - before

    assert virtual_time.run(scenario()) <= 2 * 12


def test_a_run_of_which_mage_talks_nonsense_concerns_only_those_who_wait_for_it(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(6)]
    odd = faults.Fault(
        "odd", is_processed=False, change=lambda *_: faults.Answer.of({"pipeline_run": {"id": 1}})
    )
    mage.inject(odd, times=None, match=("GET", rf"/pipeline_runs/{run_ids[2]}$"))

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(100)
            for run_id in run_ids:
                mage.finish(run_id)
            return await asyncio.gather(*tasks.values())

    outcomes = virtual_time.run(scenario())
    [error] = [outcome for outcome in outcomes if isinstance(outcome, MageError)]
    assert error is outcomes[2]
    assert "`status`: Field required" in str(error)
    assert str(error).endswith(f"/api/pipeline_runs/{run_ids[2]}.")


def test_everybody_hears_of_an_outage_and_the_poller_backs_off(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(6)]

    async def scenario():
        poller = RunPoller(asks(mage))
        heard = []
        async with poller.watch(Watcher(run_ids[0], 10.0)) as sightings, waiting(poller, run_ids[1:]):
            await asyncio.sleep(30)
            while not sightings.empty():
                sightings.get_nowait()
            with mage.down():
                began = asyncio.get_running_loop().time()
                while asyncio.get_running_loop().time() - began < 300:
                    heard.append((await sightings.get(), asyncio.get_running_loop().time() - began))
            mage.finish(run_ids[0])
            back = asyncio.get_running_loop().time()
            while isinstance(sighting := await sightings.get(), Unreachable):
                pass
            return heard, sighting, asyncio.get_running_loop().time() - back

    heard, sighting, delay = virtual_time.run(scenario())
    assert all(isinstance(lost.error, MageTransportError) for lost, _ in heard)
    assert len({lost.since for lost, _ in heard}) == 1
    pauses = [later - earlier for (_, earlier), (_, later) in pairwise(heard)]
    assert len(heard) < 20
    assert pauses[-1] > pauses[0]
    assert sighting.status.is_terminal
    assert delay <= poller_module.LONGEST_BACK_OFF


def test_a_server_that_asks_for_patience_gets_it(mage, schedule):
    run_id = mage.pipeline_run(schedule).id
    mage.inject(faults.http_error(503, retry_after=45), match=("GET", "/pipeline_runs"))

    async def scenario():
        async with waiting(RunPoller(asks(mage)), [run_id]):
            await asyncio.sleep(44)
            return mage.count("GET", "/pipeline_runs")

    assert virtual_time.run(scenario()) == 1


def test_the_last_watcher_ends_the_poller(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(4)]
    idle = []

    async def scenario():
        poller = RunPoller(asks(mage), on_idle=lambda: idle.append(True))
        async with waiting(poller, run_ids):
            await asyncio.sleep(30)
            assert not idle
        before = mage.count()
        await asyncio.sleep(300)
        return mage.count() - before

    assert virtual_time.run(scenario()) == 0
    assert idle == [True]


def test_one_connection_has_one_poller_for_as_long_as_somebody_waits(mage, schedule, connect):
    run_id = mage.pipeline_run(schedule).id
    conn_id = connect()

    async def scenario():
        with threads_of(conn_id) as call:
            first = poller_of(conn_id, call)
            assert poller_of(conn_id, call) is first
            async with waiting(first, [run_id]):
                assert poller_of(conn_id, call) is first
                assert poller_of("another", call) is not first
            assert poller_of(conn_id, call) is not first

    asyncio.run(scenario())
    _pollers.clear()


def busy_with(request, *statuses):
    """Whether a request is about the list of runs with such a status."""
    return bool({*statuses} & {*(request.first("status[]") or "").split(",")})


def lost_from_the_feed(mage, run_id):
    """Let the list of runs that are over leave one out."""

    def leave_out(request, answer):
        if not busy_with(request, "completed"):
            return answer
        data = json.loads(answer.body)
        rows = [row for row in data["pipeline_runs"] if row["id"] != run_id]
        return faults.Answer.of({**data, "pipeline_runs": rows})

    mage.inject(
        faults.Fault("left out", is_processed=True, change=leave_out), times=None, match=("GET", FEED)
    )
    mage.finish(run_id)


UNSEEN = {
    "left out of the feed": lost_from_the_feed,
    "deleted": lambda mage, run_id: mage.pipeline_runs.pop(run_id),
    "completed, schedule deleted": lambda mage, run_id: (
        mage.finish(run_id),
        mage.project.delete_pipeline_schedule(mage.pipeline_schedules[2]),
    ),
}


@pytest.mark.parametrize("number", [0, 450, 899])
@pytest.mark.parametrize("happens", UNSEEN)
def test_what_the_feed_does_not_show_is_found_by_reading_all_active_runs(mage, schedule, happens, number):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(900)]
    mage.pipeline_runs[run_ids[number]].pipeline_schedule_id = mage.pipeline_schedule("daily_orders").id
    for _ in range(150):  # others' runs are in the list too
        mage.pipeline_run(schedule)

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(100)
            ended = asyncio.get_running_loop().time()
            UNSEEN[happens](mage, run_ids[number])
            await asyncio.wait([tasks[run_ids[number]]])
            assert sum(task.done() for task in tasks.values()) == 1
            return asyncio.get_running_loop().time() - ended

    assert virtual_time.run(scenario()) <= (1050 / LONGEST_PAGE + 2) * (PAGE_EVERY + 10)


@asynccontextmanager
async def listening(poller, run_ids):
    """Let everybody listen, and give back what each hears."""
    heard = {run_id: [] for run_id in run_ids}

    async def listen(run_id):
        async with poller.watch(Watcher(run_id, 10.0)) as sightings:
            while True:
                heard[run_id].append(await sightings.get())

    tasks = [asyncio.create_task(listen(run_id)) for run_id in run_ids]
    try:
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def test_every_watcher_learns_how_its_run_gets_on(mage, schedule):
    """Else no run could be seen to stand still."""
    run_ids = [mage.pipeline_run(schedule).id for _ in range(400)]

    async def scenario():
        async with listening(RunPoller(asks(mage)), run_ids) as heard:
            for _ in range(3):
                for run_id in run_ids:
                    mage.advance(run_id)
                await asyncio.sleep((400 / LONGEST_PAGE + 2) * (PAGE_EVERY + 10))
        return heard

    for sightings in virtual_time.run(scenario()).values():
        first_blocks = [run.block_runs[0].status.value for run in sightings]
        assert list(dict.fromkeys(first_blocks)) == ["initial", "queued", "running"]


def stalled(run, **rules):
    return HandleStall(run, RunRules(**rules), 300.0)


def test_what_mage_says_of_one_standstill_is_not_asked_again_for_each(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(30)]
    schedule.status = "inactive"

    async def scenario():
        poller = RunPoller(asks(mage))
        async with listening(poller, run_ids) as heard:
            await asyncio.sleep(100)
            runs = [sightings[-1] for sightings in heard.values()]
            await asyncio.gather(*(poller.act(stalled(run)) for run in runs))
            with pytest.raises(StalledError, match=r"Its pipeline schedule 1 \('airflow'\) is inactive"):
                await poller.act(stalled(runs[0], on_stall="fail"))

    virtual_time.run(scenario())
    assert mage.count("GET", "/status$") == 1
    assert mage.count("GET", "/pipeline_schedules/1$") == 1
    assert mage.count("POST") == 1  # the log-in: no run was made, as no job is lost


def test_many_lost_jobs_are_found_at_once(mage, schedule):
    mage.pipeline("daily_orders", ["load"], polls_to_finish=None)
    runs = [mage.pipeline_run(schedule) for _ in range(30)]
    for run in runs:
        mage.advance(run.id, 2)
    mage.lose_jobs()

    async def scenario():
        poller = RunPoller(asks(mage))
        async with listening(poller, [run.id for run in runs]) as heard:
            await asyncio.sleep(100)
            await asyncio.gather(*(poller.act(stalled(sightings[-1])) for sightings in heard.values()))

    virtual_time.run(scenario())
    assert [mage.advance(run.id, 3) for run in runs] == ["completed"] * 30
    assert [run.executions for one in runs for run in one.block_runs] == [1] * 30
    assert mage.count("POST", "/pipeline_runs$") == 1
    assert list(mage.pipeline_schedules) == [schedule.id]


def test_a_busy_server_is_not_asked_about_each_block_that_waits_its_turn(mage):
    mage.pipeline("daily_orders", [f"block_{number}" for number in range(40)], polls_to_finish=None)
    mage.pipeline("busy", ["load"], polls_to_finish=None)
    schedules = [mage.pipeline_schedule("daily_orders", f"schedule {number}") for number in range(40)]
    mage.advance(mage.pipeline_run(mage.pipeline_schedule("busy")).id, 3)
    runs = [mage.pipeline_run(schedule) for schedule in schedules]
    for run in runs:
        mage.advance(run.id, 2)
    client = connect(mage)
    seen = [client.get_pipeline_run(run.id) for run in runs]
    before = mage.count()

    async def scenario():
        poller = RunPoller(asks(mage))
        await asyncio.gather(*(poller.act(HandleStall(run, RunRules(), 60.0)) for run in seen))

    virtual_time.run(scenario())
    assert mage.count() - before <= 5  # a log-in, the status, a pipeline, and the oldest active runs
    assert mage.count("POST", "/pipeline_runs$") == 0


def test_a_thousand_cost_no_more_requests_than_a_few(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(1000)]

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids):
            await asyncio.sleep(60)
            before, began = mage.count(), mage.count("GET", FEED)
            await asyncio.sleep(1000)
            pages = sum(busy_with(request, "running") for request in mage.requests)
            return mage.count() - before, mage.count("GET", FEED) - began, pages

    requests, lists, pages = virtual_time.run(scenario())
    rounds = 1000 / 9
    assert requests <= 2 * rounds
    assert lists - rounds <= pages <= 1 + 1060 / PAGE_EVERY


def test_an_outage_in_the_middle_of_many_ends_loses_none(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(3 * FEED_LENGTH)]

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids, gives_up=False) as tasks:
            await asyncio.sleep(60)
            ended = asyncio.get_running_loop().time()
            for run_id in run_ids:
                mage.finish(run_id)
            mage.inject(faults.http_error(502), times=3, match=("GET", r"/pipeline_runs/\d+$"), skip=50)
            return max(await asyncio.gather(*tasks.values())) - ended

    assert virtual_time.run(scenario()) <= 60.0


def test_a_run_that_cannot_be_read_is_its_own_watchers_trouble_only(mage, schedule):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(6)]
    unreadable = faults.http_error(504)

    async def scenario():
        async with waiting(RunPoller(asks(mage)), run_ids) as tasks:
            await asyncio.sleep(30)
            mage.inject(unreadable, times=None, match=("GET", rf"/pipeline_runs/{run_ids[2]}$"))
            mage.finish(run_ids[2])
            await asyncio.sleep(100)
            for run_id in run_ids[3:]:
                mage.finish(run_id)
            await asyncio.sleep(10)
            return {run_id: task.result() for run_id, task in tasks.items() if task.done()}

    told = virtual_time.run(scenario())
    assert sorted(told) == run_ids[2:]
    assert isinstance(told.pop(run_ids[2]), MageTransportError)
    assert all(isinstance(moment, float) for moment in told.values())


@pytest.mark.parametrize("count", [2, 6])
def test_pages_and_runs_that_are_too_much_for_mage_hold_nobody_up(mage, schedule, count):
    run_ids = [mage.pipeline_run(schedule).id for _ in range(count)]
    too_much = faults.http_error(504)

    def choke(request, answer):
        is_page = busy_with(request, "running") and int(request.first("_limit")) > 1
        is_the_run = request.path.endswith(f"/pipeline_runs/{run_ids[0]}")
        return too_much.change(request, answer) if is_page or is_the_run else answer

    async def scenario():
        mage.inject(faults.Fault("too much", is_processed=True, change=choke), times=None)
        poller = RunPoller(asks(mage))
        async with waiting(poller, run_ids, gives_up=False) as tasks:
            await asyncio.sleep(300)
            mage.finish(run_ids[-1])
            ended = asyncio.get_running_loop().time()
            return await tasks[run_ids[-1]] - ended

    assert virtual_time.run(scenario()) <= 10.0


def test_everybody_hears_that_mage_answers_again(mage, schedule):
    """Two short outages with long hours in between are not one long outage."""
    run_ids = [mage.pipeline_run(schedule).id for _ in range(300)]

    async def scenario():
        async with listening(RunPoller(asks(mage)), run_ids) as heard:
            await asyncio.sleep(30)
            with mage.down():
                await asyncio.sleep(30)
            await asyncio.sleep(70)
        return heard

    for sightings in virtual_time.run(scenario()).values():
        lost_at = max(n for n, sighting in enumerate(sightings) if isinstance(sighting, Unreachable))
        assert any(isinstance(sighting, Reachable) for sighting in sightings[lost_at:])


STEPS = st.sampled_from(["completed", "failed", "cancelled", "repaired", "deleted", "schedule deleted"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    histories=st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=3, max_size=8),
    hidden=st.sets(st.integers(0, 7)),
    invented=st.sets(st.integers(0, 7)),
)
def test_each_watcher_gets_its_one_right_event_from_a_feed_that_lies(histories, hidden, invented):
    """Whatever becomes of the runs, and whatever the feed leaves out or makes up."""
    with FakeMage(polls_to_finish=None) as mage:
        mage.example_pipelines()
        runs = [mage.pipeline_run(mage.pipeline_schedule("daily_orders")) for _ in histories]

        def lie(request, answer):
            data = json.loads(answer.body)
            rows = [row for row in data["pipeline_runs"] if row["id"] - 1 not in hidden]
            rows += [
                {"id": run.id, "status": "completed", "execution_date": "2026-01-01 00:00:00"}
                for run in runs
                if run.id - 1 in invented
            ]
            return faults.Answer.of({**data, "pipeline_runs": rows})

        mage.inject(faults.Fault("lie", is_processed=True, change=lie), times=None, match=("GET", FEED))

        async def scenario():
            async with waiting(RunPoller(asks(mage)), [run.id for run in runs]) as tasks:
                await asyncio.sleep(15)
                for run, history in zip(runs, histories, strict=True):
                    for step in history:
                        act(mage, run, step)
                await asyncio.sleep(10 * (len(runs) + 2))
                return {run_id: task.result() for run_id, task in tasks.items() if task.done()}

        told = virtual_time.run(scenario())
        for run in runs:
            if run.id not in mage.pipeline_runs:
                assert isinstance(told[run.id], MageNotFoundError)
            elif mage.pipeline_runs[run.id].status in ("completed", "failed", "cancelled"):
                assert isinstance(told[run.id], float)
            else:
                assert run.id not in told


def act(mage, run, step):
    """Let something happen to a run, if it can."""
    if run.id not in mage.pipeline_runs:
        return
    if step == "deleted":
        del mage.pipeline_runs[run.id]
    elif step == "schedule deleted":
        if run.pipeline_schedule_id is not None:
            mage.project.delete_pipeline_schedule(mage.pipeline_schedules[run.pipeline_schedule_id])
    elif step == "repaired":
        if mage.pipeline_runs[run.id].status in ("failed", "cancelled"):
            connect(mage).retry_pipeline_run(run.id)
    elif mage.pipeline_runs[run.id].status in ("initial", "running"):
        mage.finish(run.id, step)


def test_progress_and_heartbeats_cost_no_request(mage, schedule, caplog):
    """All that is told of a run by default comes from what the poller reads anyway."""
    caplog.set_level("INFO")
    run_ids = [mage.pipeline_run(schedule).id for _ in range(200)]
    for run_id in run_ids:
        mage.advance(run_id, 3)

    async def watch_one(poller, run_id):
        async with poller.watch(Watcher(run_id, 10.0)) as sightings:

            async def look(step):
                try:
                    return await within(step.wake_in, sightings.get())
                except asyncio.TimeoutError:
                    return None

            watch = RunWatch(run_id, RunRules())
            await wait_async(watch, look, poller.act, asyncio.get_running_loop().time)

    async def requests_of(waiter):
        poller, before = RunPoller(asks(mage)), mage.count("GET")
        waits = [asyncio.create_task(waiter(poller, run_id)) for run_id in run_ids]
        await asyncio.sleep(1000)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return mage.count("GET") - before

    plain = virtual_time.run(requests_of(until_over))
    assert not caplog.messages
    told = virtual_time.run(requests_of(watch_one))

    assert abs(told - plain) <= 8  # of some 200, as rounds have a jitter
    heartbeats = [message for message in caplog.messages if "is still running after" in message]
    assert len(heartbeats) >= 2 * len(run_ids)
