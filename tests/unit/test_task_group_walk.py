"""A random walk: whatever fails, is retried or cleared, a task is what its block is."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.group_stage import open_stage

from airflow_provider_mage._runs.block_state import BlockState

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

    def __init__(self, mage, pipeline, dag_run, upstream):
        self.mage, self.pipeline, self.dag_run, self.upstream = mage, pipeline, dag_run, upstream
        self.launches = 1

    @property
    def run(self):
        return self.mage.pipeline_runs[max(self.mage.pipeline_runs)]

    def executions(self):
        return dict.fromkeys(self.upstream, 0) | {
            name: count for name, count in self.mage.executions(self.run.id).items() if ":" not in name
        }

    def go_on(self, asked):
        """Run what is due, and see that no blocks run but those asked for, those after them, and retries."""
        before = self.executions() if self.mage.pipeline_runs else dict.fromkeys(self.upstream, 0)
        tries = {name: self.task(name).try_number for name in self.upstream}
        run_before = self.run.id if self.mage.pipeline_runs else 0
        self.dag_run.run()
        if self.run.id != run_before:
            before = dict.fromkeys(self.upstream, 0)
            asked = set(self.upstream)
        retried = {name for name in self.upstream if self.task(name).try_number - tries[name] > 1}
        may_run = after(asked | retried, self.upstream)
        more = {name: count - before[name] for name, count in self.executions().items()}
        for name, count in more.items():
            # A block runs once for what was asked, and once for each retry of it or of a block before it.
            most = (name in after(asked, self.upstream)) + sum(
                max(0, self.task(one).try_number - tries[one] - 1)
                for one in self.upstream
                if name in after({one}, self.upstream)
            )
            assert count <= most, (name, more, asked, retried, self.dag_run.states)
        assert may_run >= {name for name, count in more.items() if count}

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
            self.dag_run.clear("group.launch", downstream=True)
            self.go_on(set(self.upstream))
            self.check()
        elif names:
            self.dag_run.clear(*(f"group.{name}" for name in names), downstream=action == "clear")
            self.go_on(set(names))
            if action == "clear":
                self.check()

    def check(self):
        """See that all is over, and every task's colour is its block's."""
        assert len(self.mage.pipeline_runs) == self.launches
        run = self.dag_run.client.get_pipeline_run(self.run.id)
        assert all(
            one.status in ("completed", "failed", "cancelled") for one in self.mage.pipeline_runs.values()
        )
        for name in self.upstream:
            state, end = self.task(name).state, BlockState(run, name).end
            end = None if end is None else end.value
            assert state in COLOURS[end], (name, state, end, self.dag_run.states, self.task(name).errors)
        verdict = self.dag_run.tasks["group.verdict"].state
        assert (verdict == "success") == (run.status.value == "completed")


@pytest.mark.parametrize("clears_setups", [True, False])
@given(pipelines(), actions, st.booleans(), st.integers(0, 1), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_walk(monkeypatch, clears_setups, drawn, actions, may_fail, retries, seed):
    upstream, ills = drawn
    options = {"may_fail": may_fail, "retries": retries, "clears_setups": clears_setups, "seed": seed}
    with stage(monkeypatch, upstream, ills, **options) as made:
        walk = Walk(made.mage, made.pipeline, made.dag_run, upstream)
        walk.go_on(set(upstream))
        walk.check()
        for action, chosen in actions:
            walk.do(action, [name for name in chosen if name in upstream])
