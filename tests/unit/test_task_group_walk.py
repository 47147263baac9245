"""A random walk: whatever fails, is retried or cleared, a task is what its block is."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.group_stage import open_stage

from airflow_provider_mage._runs.block_state import BlockState
from airflow_provider_mage.api.models import BlockRunStatus
from fakes.dag_run import RED

NAMES = "abcdef"
COLOURS = {
    "completed": {"success"},
    # Of a block after a failed one and one that was left out, Mage says the latter and Airflow the former.
    "condition_failed": {"skipped", "upstream_failed"},
    "failed": {"failed"},
    "cancelled": {"failed", "upstream_failed"},
    "upstream_failed": {"upstream_failed", "failed"},
    None: {"failed", "upstream_failed"},
}


@st.composite
def pipelines(draw):
    """Draw the blocks before each block of a pipeline, and what is the matter with some."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    upstream = {
        name: draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=2)) if number else []
        for number, name in enumerate(names)
    }
    ills = st.sampled_from([None, None, None, "fails", "fails once", "left out", "dynamic"])
    return upstream, {name: draw(ills) for name in names}


actions = st.lists(
    st.tuples(
        st.sampled_from(["clear", "clear", "clear alone", "heal", "launch", "idle"]),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True),
    ),
    max_size=5,
)


def stage(monkeypatch, upstream, ills, *, may_fail, **options):
    """Open a stage whose blocks have these ills."""

    def those(kind):
        return [name for name, ill in ills.items() if ill == kind]

    return open_stage(
        monkeypatch,
        upstream,
        settings={"allow_blocks_to_fail": may_fail},
        also_fail=set(those("fails")),
        fails_at=next(iter(those("fails once")), None),
        fails_times=1,
        left_out=set(those("left out")),
        children={name: ["one", "two"] for name in those("dynamic")},
        **options,
    )


def after(names, upstream):
    """Return these blocks and all after them."""
    found = set(names)
    for name, before in upstream.items():
        if found & set(before):
            found.add(name)
    return found


class Walk:
    """The DAG run, and what of it may have happened."""

    def __init__(self, made, upstream, ills, *, clears_setups, may_fail):
        self.mage, self.pipeline, self.dag_run = made.mage, made.pipeline, made.dag_run
        self.upstream = upstream
        self.clears_setups, self.may_fail, self.is_sound = clears_setups, may_fail, not any(ills.values())
        self.launches = 1
        # Blocks that Mage has run again, while their tasks were left as they were.
        self.left_behind = set()

    @property
    def run(self):
        return self.mage.pipeline_runs[max(self.mage.pipeline_runs)]

    def read_run(self):
        return self.dag_run.client.get_pipeline_run(self.run.id)

    def executions(self):
        return dict.fromkeys(self.upstream, 0) | {
            name: count for name, count in self.mage.executions(self.run.id).items() if ":" not in name
        }

    def go_on(self, asked):
        """Run what is due, and see that no block runs more often than it was asked to."""
        before = self.executions() if self.mage.pipeline_runs else {}
        # Where nobody waits for the run after a clear, it may still be at what that has asked for.
        run = self.read_run() if before else None
        still_to_run = {name for name in before if not BlockState(run, name).is_over}
        tries = {name: self.task(name).try_number for name in self.upstream}
        former = max(self.mage.pipeline_runs, default=None)
        self.dag_run.run()
        run, is_new = self.read_run(), self.run.id != former
        retries = {name: max(0, self.task(name).try_number - tries[name] - 1) for name in self.upstream}
        for name, count in self.executions().items():
            reasons = [one for one in self.upstream if name in after({one}, self.upstream)]
            # What is cleared together is repaired together, unless each task is left to itself.
            clears = 1 if is_new else len(set(reasons) & asked)
            most = (min(clears, 1) if self.clears_setups else clears) + sum(retries[one] for one in reasons)
            if BlockState(run, name).end is BlockRunStatus.FAILED and not self.may_fail:
                # Mage goes on with no run that has a failed block: it runs again as others are retried.
                most += sum(retries.values())
            more = count if is_new else count - before[name] - (name in still_to_run)
            assert more <= most, (name, more, asked, retries, self.dag_run.states)
            if self.is_sound and name in asked - still_to_run:
                assert more, (name, asked, self.dag_run.states)

    def task(self, name):
        return self.dag_run.tasks[f"group.{name}"]

    def do(self, action, names):
        """Do what a person may do, and see what comes of it."""
        if action == "heal":
            self.pipeline.also_fail = set(self.pipeline.also_fail) - set(names)
        elif action == "idle":
            self.dag_run.client.clock.sleep(5)
        elif action == "launch":
            self.launches += 1
            self.left_behind.clear()
            self.dag_run.clear("group.launch", downstream=True)
            self.go_on(set(self.upstream))
            self.check()
        elif names:
            self.dag_run.clear(*(f"group.{name}" for name in names), downstream=action == "clear")
            self.go_on(set(names))
            self.left_behind |= after(names, self.upstream)
            self.left_behind -= after(names, self.upstream) if action == "clear" else set(names)
            if action == "clear":
                self.check()
            elif self.clears_setups and self.read_run().status.value != "completed":
                assert self.dag_run.state == "failed"

    def check(self):
        """See that all is over, and every task's colour is its block's."""
        assert len(self.mage.pipeline_runs) == self.launches
        run = self.read_run()
        assert all(
            one.status in ("completed", "failed", "cancelled") for one in self.mage.pipeline_runs.values()
        )
        left_behind = after(self.left_behind, self.upstream)
        for name in set(self.upstream) - left_behind:
            state, end = self.task(name).state, BlockState(run, name).end
            end = None if end is None else end.value
            assert state in COLOURS[end], (name, state, end, self.dag_run.states, self.task(name).errors)
        verdict = self.dag_run.tasks["group.verdict"].state
        is_red = any(self.task(name).state in RED for name in left_behind)
        # With none that has failed, Mage takes the run for completed.
        is_red |= any(BlockState(run, name).end is BlockRunStatus.UPSTREAM_FAILED for name in left_behind)
        assert (verdict == "success") == (run.status.value == "completed" and not is_red)
        assert self.dag_run.state == verdict


@pytest.mark.parametrize("clears_setups", [True, False])
@given(pipelines(), actions, st.booleans(), st.booleans(), st.integers(0, 1), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_walk(monkeypatch, clears_setups, drawn, actions, may_fail, is_late, retries, seed):
    upstream, ills = drawn
    options = {"may_fail": may_fail, "retries": retries, "clears_setups": clears_setups, "seed": seed}
    with stage(monkeypatch, upstream, ills, leaves_out_late=is_late, **options) as made:
        walk = Walk(made, upstream, ills, clears_setups=clears_setups, may_fail=may_fail)
        walk.go_on(set(upstream))
        walk.check()
        for action, chosen in actions:
            walk.do(action, [name for name in chosen if name in upstream])
