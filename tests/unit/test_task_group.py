"""What a pipeline's task group is made of, and what its tasks decide."""

import asyncio
import json
import socket
from contextlib import ExitStack

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from unit.group_stage import START, blocks_of, open_stage

from airflow_provider_mage.__main__ import main
from airflow_provider_mage._runs.block_state import BlockGoal, BlockState, Decision, Recorded
from airflow_provider_mage._runs.block_watch import STUCK_AFTER, BlockWatch, GroupGoal, GroupWatch, watch_of
from airflow_provider_mage._runs.blocks import Block, ancestors_of, descendants_of, label_of, read_blocks
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage._waiting.watch import Over, Wait
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus, PipelineRun, PipelineRunStatus
from airflow_provider_mage.cluster import mage_cluster
from airflow_provider_mage.task_groups.pipeline import MagePipelineTaskGroup
from airflow_provider_mage.triggers.block import MageBlockTrigger
from fakes.scheduler import add_connection, first_event

UPSTREAM = {"a": [], "b": ["a"], "c": ["b"]}
CHAIN = blocks_of(UPSTREAM)


def group(blocks=None, group_id="group", default_args=None, **arguments):
    with DAG("groups", schedule=None, start_date=START, default_args=default_args or {}):
        return MagePipelineTaskGroup(
            group_id,
            **{"pipeline_uuid": "orders", "blocks": CHAIN if blocks is None else blocks, **arguments},
        )


# Blocks


def test_blocks_come_from_a_list_a_snapshot_or_the_metadata(tmp_path):
    metadata = {
        "type": "python",
        "blocks": [
            *CHAIN[::-1],
            {"uuid": "notes", "type": "markdown"},
            {"uuid": "draft", "type": "scratchpad"},
        ],
    }
    snapshot, yaml_file = tmp_path / "orders.json", tmp_path / "metadata.yaml"
    snapshot.write_text(json.dumps(metadata), encoding="utf-8-sig")
    yaml_file.write_text(
        "type: python\nblocks:\n- uuid: a\n- {uuid: b, upstream_blocks: [a]}\n"
        "- {uuid: c, upstream_blocks: [b]}\n"
    )
    expected = (Block("a"), Block("b", ("a",)), Block("c", ("b",)))

    for given in (CHAIN, CHAIN[::-1], metadata, snapshot, str(snapshot), yaml_file):
        assert read_blocks(given) == expected
    assert read_blocks(["a", {"uuid": "b", "upstream_blocks": None}]) == (Block("a"), Block("b"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "must be a list of blocks"),
        (7, "must be a list of blocks"),
        ({"a", "b"}, "must be a list of blocks"),
        ({"blocks": "a"}, "must be a list of blocks"),
        ([], "no block that Mage executes"),
        ([{"uuid": "x", "type": "chart"}], "no block that Mage executes"),
        ([{"uuid": ""}], "without a name"),
        ([{"name": "a"}], "without a name"),
        ([7], "without a name"),
        ([{"uuid": "a", "type": ["x"], "upstream_blocks": 3}], "must be a list of names"),
        ([{"uuid": "a", "upstream_blocks": "b"}], "must be a list of names"),
        (["a", "a"], "two blocks 'a'"),
        ([{"uuid": "a", "upstream_blocks": ["x"]}], "no block 'x', which is upstream of block 'a'"),
        ([{"uuid": "a", "upstream_blocks": ["b"]}, {"uuid": "b", "upstream_blocks": ["a"]}], "circle: a, b"),
        ({"type": "streaming", "blocks": CHAIN}, "streaming"),
        ("no/such/file.yaml", "cannot be read"),
    ],
)
def test_blocks_that_make_no_sense_are_refused_while_the_dag_is_parsed(given, says):
    with pytest.raises(ValueError, match=says):
        read_blocks(given)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"{", "no JSON"),
        ("a.json", b"[" * 100_000, "no JSON"),
        ("a.yaml", b"{", "no YAML"),
        ("a.yaml", b"!!python/object:os.system {}", "no YAML"),
        ("a.yaml", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_file_that_makes_no_sense_is_named(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ValueError, match=says) as caught:
        read_blocks(path)
    assert str(path) in str(caught.value)


def test_names_are_mapped_readably_and_apart():
    names = ["load", "étl/load", "etl/load", "etl load", "日本", "launch", "x" * 300, "a.b"]

    labels = [label_of(name, ("launch",)) for name in names]

    assert labels[0] == "load"
    assert labels[2].startswith("etl_load_")
    assert len(set(labels)) == len(names)
    assert all(label.replace("_", "").replace("-", "").isalnum() and label.isascii() for label in labels)
    assert max(map(len, labels)) < 100
    assert labels == [label_of(name, ("launch",)) for name in names]


def test_what_is_before_and_after():
    blocks = read_blocks([*CHAIN, {"uuid": "d", "upstream_blocks": ["a", "c"]}, {"uuid": "e"}])

    assert descendants_of("a", blocks) == ("b", "c", "d")
    assert ancestors_of("d", blocks) == ("a", "b", "c")
    assert (descendants_of("e", blocks), ancestors_of("e", blocks)) == ((), ())


# The group


def test_tasks_are_wired_as_the_pipeline_is():
    made = group([*CHAIN, {"uuid": "launch", "upstream_blocks": ["a"]}])
    tasks = {task.task_id.removeprefix("group."): task for task in made.dag.tasks}
    label = label_of("launch", ("launch",))
    edges = {
        name: {one.removeprefix("group.") for one in task.downstream_task_ids} for name, task in tasks.items()
    }

    assert list(tasks) == ["launch", "repair_cleared", "a", "b", label, "c", "verdict", "cancel_unfinished"]
    ends = {"verdict", "cancel_unfinished"}
    assert edges == {
        "launch": {"repair_cleared"},
        "repair_cleared": {"a", "cancel_unfinished"},
        "a": {"b", label, "cancel_unfinished"},
        "b": {"c", "cancel_unfinished"},
        "c": ends,
        label: ends,
        "verdict": {"cancel_unfinished"},
        "cancel_unfinished": set(),
    }
    assert tasks["repair_cleared"].is_setup
    assert tasks["cancel_unfinished"].is_teardown
    assert not any(task.is_setup or task.is_teardown for task in (tasks["launch"], tasks["verdict"]))
    assert made.block_tasks["launch"] is tasks[label]


def test_what_follows_the_group_follows_the_verdict():
    with DAG("groups", schedule=None, start_date=START):
        before, after, reader = (BaseOperator(task_id=name) for name in ("before", "after", "reader"))
        made = MagePipelineTaskGroup(pipeline_uuid="daily orders", blocks=CHAIN)
        before >> made >> after
        made.block_tasks["b"] >> reader
        with made:
            BaseOperator(task_id="own")

    assert made.group_id == label_of("daily orders")
    assert before.downstream_task_ids == {made.launch.task_id}
    assert made.verdict.task_id in after.upstream_task_ids
    assert made.block_tasks["b"].task_id not in after.upstream_task_ids
    assert reader.upstream_task_ids == {made.block_tasks["b"].task_id}


def test_cluster_around_a_group_stops_when_nothing_of_the_group_is_left():
    with DAG("groups", schedule=None, start_date=START), mage_cluster(cluster_id="orders") as cluster:
        made = MagePipelineTaskGroup(pipeline_uuid="orders", blocks=CHAIN)

    assert made.launch.task_id in cluster.start.downstream_task_ids
    assert {made.verdict.task_id, made.cancel.task_id} <= cluster.stop.upstream_task_ids


def test_default_arguments_count_where_nothing_is_given():
    defaults = {
        "mage_conn_id": "mine",
        "deferrable": False,
        "poll_interval": 77,
        "retries": 3,
        "trigger_rule": "one_failed",
    }
    made = group(default_args=defaults, stall_timeout=5)

    assert {task.mage_conn_id for task in made.dag.tasks} == {"mine"}
    assert {task.retries for task in made.dag.tasks} == {3}
    plan = made.verdict.plan
    assert (plan.deferrable, plan.rules.poll_interval, plan.rules.stall_timeout) == (False, 77.0, 5.0)
    assert {
        str(getattr(rule, "value", rule))
        for rule in (task.trigger_rule for task in made.block_tasks.values())
    } == {
        "all_success",
        "none_failed",
    }
    assert group().verdict.plan.deferrable is True
    assert group(default_args=defaults, mage_conn_id="other").verdict.mage_conn_id == "other"


def test_a_dag_file_with_groups_touches_no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)

    assert len(group([str(number) for number in range(50)]).dag.tasks) == 54


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"poll_interval": 0}, "`poll_interval`"),
        ({"on_stall": "pray"}, "`on_stall`"),
        ({"deferrable": "perhaps"}, "`deferrable`"),
        ({"max_log_lines": -1}, "`max_log_lines`"),
        ({"pipeline_uuid": None, "group_id": None}, "`pipeline_uuid`"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_while_the_dag_is_parsed(arguments, says):
    with pytest.raises(ValueError, match=says):
        group(**arguments)


def test_snapshot_is_what_a_group_takes(mage, connect, capsys, tmp_path):
    conn_id = connect()

    assert main(["snapshot", "daily_orders", "--mage-conn-id", conn_id]) == 0
    path = tmp_path / "orders.json"
    path.write_text(capsys.readouterr().out)
    assert [block.uuid for block in read_blocks(path)] == ["load_orders", "clean_orders", "export_totals"]
    assert main(["snapshot", "no_such", "--mage-conn-id", conn_id]) == 1
    assert "no_such" in capsys.readouterr().err
    assert main(["snapshot", "daily_orders", "--mage-conn-id", "no_connection"]) == 1
    assert "Airflow has no connection 'no_connection'" in capsys.readouterr().err


# What a task decides


def run_of(status="running", **states):
    rows = tuple(
        BlockRun(number, name.replace("__", ":"), BlockRunStatus(state))
        for number, (name, state) in enumerate(states.items(), 1)
    )
    return PipelineRun(1, PipelineRunStatus(status), block_runs=rows)


def goal_for(run, generation=1, now=1, **fields):
    recorded = Recorded(BlockState(run, "b").fingerprint, generation)
    return BlockGoal("b", generation=now, recorded=recorded, before=("a",), after=("c",), **fields)


@pytest.mark.parametrize(
    ("states", "status", "decision"),
    [
        ({}, "initial", "wait"),
        ({"a": "initial"}, "initial", "wait"),  # not all block runs are made yet
        ({"a": "initial"}, "running", "take"),  # there is no such block
        ({}, "failed", "take"),
        ({"a": "completed", "b": "running"}, "running", "wait"),
        ({"a": "completed", "b": "completed"}, "running", "take"),
        ({"b": "completed", "b__1": "running"}, "running", "wait"),
        ({"b": "completed", "b__1": "failed", "b__2": "running"}, "running", "wait"),
        ({"b": "completed", "b__1": "failed", "b__2": "completed"}, "failed", "take"),
        ({"b": "surprise"}, "running", "wait"),
    ],
)
def test_first_time_the_end_of_the_block_is_the_tasks(states, status, decision):
    assert BlockGoal("b").decide(run_of(status, **states)) is Decision(decision)


@pytest.mark.parametrize(
    ("end", "after", "is_retry", "decision"),
    [
        ("completed", "completed", True, "take"),  # the worker died after it had recorded it
        ("condition_failed", "completed", True, "take"),
        ("failed", "cancelled", True, "repair"),
        ("completed", "completed", False, "repair"),
        ("completed", "running", False, "wait"),
        ("completed", "queued", False, "wait"),
        ("cancelled", "cancelled", False, "repair"),
        ("upstream_failed", "completed", False, "repair"),
    ],
)
def test_end_that_was_taken_before_is_repaired(end, after, is_retry, decision):
    run = run_of("failed", a="completed", b=end, c=after)
    goal = goal_for(run, now=1 if is_retry else 2)

    assert goal.decide(run) is Decision(decision)
    assert BlockGoal.from_dict(json.loads(json.dumps(goal.to_dict()))) == goal


@pytest.mark.parametrize(
    ("states", "status", "decision"),
    [
        ({"a": "completed"}, "completed", "repair"),
        ({"a": "completed"}, "running", "repair"),
        ({"a": "running"}, "running", "wait"),
        ({"a": "failed"}, "failed", "take"),
        # x may be before it, without the DAG's knowing
        ({"a": "completed", "x": "failed"}, "failed", "take"),
        ({"a": "completed"}, "cancelled", "take"),
    ],
)
def test_block_that_was_left_out_for_nothing_is_repaired(states, status, decision):
    run = run_of(status, **states, b="upstream_failed")

    assert BlockGoal("b", before=("a",)).decide(run) is Decision(decision)
    assert BlockGoal("b", before=("a",), asked=5).decide(run) is Decision.TAKE


def test_end_that_is_another_than_the_one_taken_before_is_taken():
    goal = goal_for(run_of("failed", a="completed", b="failed"), now=2)

    assert goal.decide(run_of("completed", a="completed", b="completed")) is Decision.TAKE


def test_retry_brings_no_cancelled_run_back_but_a_clear_does():
    run = run_of("cancelled", a="completed", b="cancelled")

    with pytest.raises(MageError, match="clear the task"):
        goal_for(run).decide(run)
    assert goal_for(run, now=2).decide(run) is Decision.REPAIR


def test_repair_that_another_failed_block_has_ended_is_made_again():
    run = run_of("failed", a="completed", b="cancelled", x="failed")

    assert goal_for(run, asked=1).decide(run) is Decision.TAKE
    assert goal_for(run, asked=1, along=("x",)).decide(run) is Decision.REPAIR
    assert goal_for(run, asked=1, pending=("x",)).decide(run) is Decision.WAIT
    assert goal_for(run, asked=5, along=("x",)).decide(run) is Decision.TAKE


def test_run_that_cannot_go_on_is_given_up_by_a_trigger_and_at_once_by_its_worker():
    stuck = run_of("running", a="cancelled", b="initial")
    goal = GroupGoal((BlockGoal("a"), BlockGoal("b", before=("a",))))
    in_trigger = GroupWatch(1, RunRules(), None, goal)
    now = 0.0
    while isinstance(step := in_trigger.step(stuck, now), Wait):
        now += 5.0
    assert isinstance(step, Over)
    assert now >= STUCK_AFTER

    in_worker = watch_of(1, RunRules(), None, json.loads(json.dumps(in_trigger.goal.to_dict())))
    assert isinstance(in_worker.step(stuck, now), Over)
    moved = watch_of(1, RunRules(), None, in_trigger.goal.to_dict())
    assert isinstance(moved.step(run_of("running", a="cancelled", b="queued"), now), Wait)


@pytest.mark.parametrize(
    ("states", "is_given_up"),
    [
        ({"a": "completed", "b": "cancelled"}, True),  # no block is left that could run, and Mage waits on
        ({"a": "completed", "b": "initial"}, False),
        ({"a": "cancelled", "b": "initial", "x": "initial"}, True),  # of x nothing is known
        ({"a": "cancelled", "b": "initial", "c": "initial"}, False),
        ({"a": "cancelled", "b": "initial", "c": "queued"}, False),
    ],
)
def test_run_is_given_up_if_no_block_can_begin_any_more(states, is_given_up):
    goal = GroupGoal((BlockGoal("a"), BlockGoal("b", before=("a",)), BlockGoal("c")))
    watch = GroupWatch(1, RunRules(), None, goal)
    steps = [watch.step(run_of("running", **states), 10.0 * number) for number in range(6)]

    assert isinstance(steps[-1], Over) is is_given_up


def test_trigger_repairs_nothing():
    run = run_of("failed", a="completed", b="failed")
    watch = BlockWatch(1, RunRules(), None, goal_for(run), repairs=False)

    assert isinstance(watch.step(run, 0.0), Over)


# The tasks, on a server


@pytest.fixture
def stage(monkeypatch):
    """Open a stage."""
    with ExitStack() as stack:
        yield lambda upstream=UPSTREAM, **options: stack.enter_context(
            open_stage(monkeypatch, upstream, **options)
        )


def state_of(made, name):
    return made.tasks[f"group.{name}"].state


def error_of(made, name):
    return str(made.tasks[f"group.{name}"].errors[-1])


def test_repair_of_a_block_that_mage_has_no_more_is_refused(stage):
    made = stage()
    made.dag_run.run()
    made.pipeline.blocks = ("a", "c")
    made.pipeline.upstream = {"a": [], "c": ["a"]}
    made.dag_run.clear("group.c", downstream=True)
    made.dag_run.run()

    assert state_of(made, "repair_cleared") == "failed"
    assert "has block b, which its pipeline in Mage has no more: block c cannot be run again" in error_of(
        made, "repair_cleared"
    )
    assert made.mage.executions(1) == {"a": 1, "b": 1, "c": 1}


def test_repair_past_the_timeout_of_the_schedule_is_refused(stage):
    made = stage(settings={"timeout": 60})
    made.dag_run.run()
    made.dag_run.client.clock.sleep(100)
    made.dag_run.clear("group.b", downstream=True)
    made.dag_run.run()

    assert "is older than its pipeline schedule's timeout of 60 s" in error_of(made, "repair_cleared")


def fail_both(made):
    """Let the tasks of x and y fail, neither of which is retried before both have."""
    while {state_of(made, "x"), state_of(made, "y")} != {"up_for_retry"}:
        due = [task for task in made.tasks.values() if made.dag_run._is_due(task)]
        next(task for task in due if task.state is None).execute()
        made.dag_run.client.clock.sleep(1)


@pytest.mark.parametrize("seed", range(6))
def test_two_blocks_that_failed_at_once_are_both_retried(stage, seed):
    upstream = {"a": [], "x": ["a"], "y": ["a"], "z": ["x", "y"]}
    made = stage(upstream, retries=1, seed=seed, also_fail={"x", "y"})
    fail_both(made)
    made.pipeline.also_fail = set()

    assert set(made.dag_run.run().values()) == {"success"}
    assert made.mage.executions(1) == {"a": 1, "x": 2, "y": 2, "z": 1}
    assert made.mage.pipeline_runs[1].status == "completed"


JOINED = {"a": [], "x": ["a"], "y": ["a"], "z": ["x", "y"], "end": ["z"]}


@pytest.fixture
def both_failed(stage):
    """Open a stage where x and y have failed, and Mage leaves out too late what is after them."""
    settings = {"allow_blocks_to_fail": True}
    made = stage(JOINED, settings=settings, also_fail={"x", "y"}, leaves_out_late=True)
    made.dag_run.run()
    made.pipeline.also_fail = set()
    return made


def test_block_that_mage_has_left_out_although_none_before_it_has_failed_runs(both_failed):
    made = both_failed
    made.dag_run.clear("group.x", "group.y", downstream=True)
    states = made.dag_run.run()

    assert set(states.values()) == {"success"}
    assert made.mage.executions(1) == {"a": 1, "x": 2, "y": 2, "z": 1, "end": 1}


def test_block_that_mage_has_left_out_and_whose_task_stays_is_no_success(both_failed):
    made = both_failed
    made.dag_run.clear("group.x", "group.y", "group.verdict")
    made.dag_run.run()

    assert (state_of(made, "x"), state_of(made, "y"), state_of(made, "verdict")) == (
        "success",
        "success",
        "failed",
    )
    assert "completed, but Mage has left out these blocks: z, end." in error_of(made, "verdict")


@pytest.mark.parametrize("seed", range(6))
def test_blocks_that_may_fail_run_no_more_often_than_they_are_retried(stage, seed):
    upstream = {"a": [], "b": [], "c": [], "d": ["c"]}
    settings = {"allow_blocks_to_fail": True}
    made = stage(upstream, settings=settings, retries=1, seed=seed, also_fail={"a", "b", "d"})
    made.dag_run.run()

    assert made.mage.executions(1) == {"a": 2, "b": 2, "c": 1, "d": 2}


@pytest.mark.parametrize("seed", range(4))
def test_block_that_goes_on_failing_runs_no_more_often_than_it_is_retried(stage, seed):
    made = stage({"x": [], "y": []}, retries=1, seed=seed, also_fail={"x", "y"})
    fail_both(made)
    made.dag_run.run()

    assert (state_of(made, "x"), state_of(made, "y")) == ("failed", "failed")
    assert max(made.mage.executions(1).values()) == 2


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("upstream", "downstream", "more"),
    [
        ({"a": [], "c": ["a"], "e": ["c"]}, False, {"a", "c", "e"}),
        ({"a": [], "b": [], "e": ["b"], "x": ["a", "e"]}, True, {"a", "e", "x"}),
    ],
)
def test_what_is_cleared_together_is_repaired_before_any_of_it_begins(
    stage, upstream, downstream, more, seed
):
    made = stage(upstream, seed=seed)
    made.dag_run.run()
    made.dag_run.clear("group.a", "group.e", downstream=downstream)

    assert set(made.dag_run.run().values()) == {"success"}
    assert made.mage.executions(1) == {name: 1 + (name in more) for name in upstream}


def test_launch_that_is_cleared_alone_waits_for_the_run(stage):
    made = stage(also_fail={"b"})
    made.dag_run.run()
    made.dag_run.clear("group.launch")
    made.dag_run.run()

    assert [run.status for run in made.mage.pipeline_runs.values()] == ["failed", "failed"]
    assert state_of(made, "launch") == "failed"
    assert "Block b failed" in error_of(made, "launch")


def test_launch_starts_no_other_run_while_the_one_before_cannot_be_cancelled(stage):
    made = stage(stalls_at="b")
    for _ in range(3):
        made.dag_run.step()
    made.dag_run.clear("group.launch", downstream=True)
    del made.mage.requests[:]
    made.dag_run.client.session.put = refuse_all
    made.dag_run.step()

    assert "No other was started." in error_of(made, "launch")
    assert len(made.mage.pipeline_runs) == 1


def refuse_all(*_, **__):
    raise MageError("no")


def test_skipped_group_does_nothing_to_the_run_of_before(stage):
    made = stage()
    made.dag_run.run()
    for task in made.tasks.values():
        task.state = None
    made.tasks["group.launch"].state = "skipped"
    states = made.dag_run.run()

    assert set(states.values()) == {"skipped"}
    assert made.mage.executions(1) == {"a": 1, "b": 1, "c": 1}


def test_mark_counts_in_the_verdict(stage):
    made = stage()
    while state_of(made, "verdict") is None:
        made.dag_run.step()
        if state_of(made, "b") == "success":
            made.tasks["group.b"].state = "failed"

    assert state_of(made, "verdict") == "failed"
    assert "completed, but these tasks failed: group.b" in error_of(made, "verdict")


@pytest.mark.parametrize(
    ("last", "cancel", "state"),
    [(None, "failed", "failed"), ("all_success", "success", "failed"), ("all_done", "success", "success")],
)
def test_dag_run_fails_with_the_verdict_unless_the_author_says_otherwise(stage, last, cancel, state):
    made = stage(also_fail={"b"}, last=last)
    made.dag_run.run()

    assert (state_of(made, "verdict"), state_of(made, "cancel_unfinished")) == ("failed", cancel)
    assert made.dag_run.state == state


def test_dag_run_fails_if_its_run_was_not_started(stage):
    made = stage()
    made.dag_run.client.session.post = refuse_all
    made.dag_run.run()

    assert state_of(made, "launch") == "failed"
    assert "group.verdict failed, or one before it" in error_of(made, "cancel_unfinished")
    assert made.dag_run.state == "failed"


@pytest.mark.parametrize(
    ("rows", "says"), [(1, "[a] hello"), (5, "The logs of the other 3 parts of block a")]
)
def test_log_of_a_block_is_told_when_it_has_ended(stage, caplog, capfd, rows, says):
    caplog.set_level("INFO")
    children = {"a": [str(number) for number in range(rows)]} if rows > 1 else {}
    made = stage({"a": []}, prints={"a": ["hello"]}, children=children)
    made.dag_run.run()

    assert says in caplog.text + capfd.readouterr().out


def test_trigger_says_that_a_block_has_ended(mage):
    mage.pipeline("orders", list(UPSTREAM), polls_to_finish=9)
    run = mage.pipeline_run(mage.pipeline_schedule("orders"))
    conn_id = add_connection("mage_blocks", mage, mage.url)
    trigger = MageBlockTrigger(
        conn_id, run.id, goal=BlockGoal("a").to_dict(), pipeline_uuid="orders", poll_interval=1
    )

    event = asyncio.run(first_event(trigger))
    assert (event["pipeline_run_id"], event["status"]) == (run.id, "running")
    assert mage.executions(run.id)["a"] == 1
