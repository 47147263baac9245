"""Environment variables of a cluster: what is merged, what survives, and who may write meanwhile."""

import errno
import fcntl
import json
import logging
import subprocess
import sys
import threading

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred
from airflow.serialization.helpers import serialize_template_field

from airflow_provider_mage._clusters import change, env_vars
from airflow_provider_mage.api.cluster_config import merge_env_vars, with_env_vars
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.operators.cluster import MageStopClusterOperator, MageUpdateClusterEnvVarsOperator
from fakes.faults import Fault

FROM_SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}, "note": "ours"}
PLAIN = {"name": "ENV", "value": "prod"}
ODD = {"configMapRef": {"name": "everything"}}

WRITERS = """
import os, sys
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.cloud import MAGE_CLOUD_API_KEY, MageCloudClient
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage._clusters.env_vars import update_env_vars
from airflow_provider_mage._clusters.handle import ClusterHandle
url, email, password, count = sys.argv[1:]
children = []
for number in range(int(count)):
    child = os.fork()
    if not child:
        break
    children.append(child)
else:
    sys.exit(max(os.waitpid(child, 0)[1] for child in children))
auth = MageAuth(
    url, Credentials(email, password, MAGE_CLOUD_API_KEY), use_cookie=True, shares_on_disk=True, timeout=60
)
client = MageCloudClient(MageSession(url, auth=auth))
update_env_vars(ClusterHandle(client, "team-1", "c1"), {f"VAR_{number}": str(number)})
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [FROM_SECRET, PLAIN, ODD]),
        ({"env_vars": {"NEW": "1"}}, [FROM_SECRET, PLAIN, ODD, {"name": "NEW", "value": "1"}]),
        ({"env_vars": {"ENV": "dev"}}, [FROM_SECRET, {"name": "ENV", "value": "dev"}, ODD]),
        ({"env_vars": {"TOKEN": "t"}}, [{"name": "TOKEN", "note": "ours", "value": "t"}, PLAIN, ODD]),
        ({"remove": ["ENV"]}, [FROM_SECRET, ODD]),
        ({"remove": ["TOKEN", "absent"]}, [PLAIN, ODD]),
        ({"env_vars": {"A": "1"}, "replace": True}, [FROM_SECRET, {"name": "A", "value": "1"}]),
    ],
)
def test_what_is_not_meant_stays_untouched_and_in_order(options, expected):
    entries = [FROM_SECRET, PLAIN, ODD]
    before = json.dumps(entries)

    merged = merge_env_vars(entries, **{"env_vars": {}, **options})

    assert json.dumps(merged) == json.dumps(expected) or merged == expected
    assert json.dumps(entries) == before


def test_merge_of_random_updates_loses_nothing():
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as st

    names = st.sampled_from(["A", "B", "C", "D", "E"])
    entry = st.one_of(
        st.builds(lambda n, v: {"name": n, "value": v}, names, st.text(max_size=3)),
        st.builds(lambda n: {"name": n, "valueFrom": {"fieldRef": {}}}, names),
    )
    entries = st.lists(entry, unique_by=lambda one: one["name"])

    @hypothesis.given(entries, st.dictionaries(names, st.text(max_size=3)), st.sets(names))
    def check(entries, updates, remove):
        remove -= set(updates)
        merged = merge_env_vars(entries, updates, remove=remove)
        by_name = {one["name"]: one for one in merged}
        assert len(by_name) == len(merged)
        assert all(by_name[name] == {"name": name, "value": value} for name, value in updates.items())
        untouched = [one for one in entries if one["name"] not in updates and one["name"] not in remove]
        assert [one for one in merged if one in untouched] == untouched
        assert set(by_name) == {one["name"] for one in untouched} | set(updates)
        assert merge_env_vars(merged, updates, remove=remove) == merged

    check()


def test_entries_of_another_form_stay_as_they_are():
    odd = [None, 5, "name", [], {}, {"name": None}, {"name": 5}, {"name": ["a"]}]

    merged = merge_env_vars(
        [*odd, {"name": "A", "value": "1"}], {"A": "2", "None": "3", "5": "4"}, remove=["name"]
    )

    assert merged == [
        *odd,
        {"name": "A", "value": "2"},
        {"name": "None", "value": "3"},
        {"name": "5", "value": "4"},
    ]
    assert merge_env_vars(odd, {}, replace=True) == []


@pytest.mark.parametrize("given", ["text", 5, {"A": "1"}, True])
def test_environment_that_is_no_list_is_left_alone(given):
    with pytest.raises(MageError, match="is no list, so nothing is changed"):
        with_env_vars({"extraEnvs": given}, {"A": "2"})


def test_config_without_variables_gets_some(cloud, task):
    cluster = cloud.cluster("c1", config={"replicaCount": 0})

    task(MageUpdateClusterEnvVarsOperator, env_vars={"A": 1}).run()

    assert cluster.config == {"replicaCount": 0, "extraEnvs": [{"name": "A", "value": "1"}]}


def test_nothing_is_sent_if_all_is_as_wanted(cloud, task):
    task(MageUpdateClusterEnvVarsOperator, env_vars={"ENV": "prod"}, remove=["absent"]).run()

    assert cloud.count("PUT") == 0


def test_only_names_are_returned_and_logged(cloud, task, caplog):
    with caplog.at_level(logging.DEBUG):
        result = task(MageUpdateClusterEnvVarsOperator, env_vars={"PW": "hush-4711"}, remove=["ENV"]).run()

    assert result == {"set": ["PW"], "removed": ["ENV"]}
    assert cloud.env("c1")["PW"] == "hush-4711"
    assert "hush-4711" not in caplog.text
    assert "PW" in caplog.text


def test_values_are_rendered_when_the_task_runs_and_masked(cloud, task, monkeypatch):
    masked = []
    monkeypatch.setattr("airflow_provider_mage.operators.cluster.mask_secret", masked.append)
    operator = task(
        MageUpdateClusterEnvVarsOperator,
        env_vars={"PW": "{{ secret }}", "N": "1"},
        remove=["{{ old }}"],
    ).operator

    operator.render_template_fields({"secret": "hush-4711", "old": "ENV"})
    operator.execute({})

    assert cloud.env("c1")["PW"] == "hush-4711"
    assert "ENV" not in cloud.env("c1")
    assert masked == ["hush-4711"]


NAMES_ONLY = "{'PW': '***', 'N': '***'}"


@pytest.mark.parametrize(
    ("env_vars", "is_native", "kept"),
    [
        ({"PW": "{{ secret }}", "N": "42"}, True, NAMES_ONLY),
        ("{{ all }}", True, NAMES_ONLY),
        ("{{ all }}", False, "***"),
        ("{{ [secret] }}", True, "***"),
        ("{{ secret }}", True, "***"),
        ("{{ no_such }}", True, "***"),
        (lambda context, jinja_env: context["all"], False, NAMES_ONLY),
    ],
    ids=["values", "whole", "text", "list", "value", "undefined", "callable"],
)
def test_airflow_keeps_only_the_names_of_what_was_rendered(task, env_vars, is_native, kept):
    """Whatever it was rendered to: a text is an error, but Airflow keeps it before the task can say so."""
    operator = task(MageUpdateClusterEnvVarsOperator, env_vars=env_vars).operator
    operator.dag = DAG("d", schedule=None, render_template_as_native_obj=is_native)

    operator.render_template_fields({"secret": "hush-4711", "all": {"PW": "hush-4711", "N": 42}})

    assert serialize_template_field(operator.env_vars, "env_vars") == kept


def test_values_that_were_rendered_as_text_are_told_without_showing_them(cloud, task):
    operator = task(MageUpdateClusterEnvVarsOperator, env_vars="{{ all }}").operator
    operator.dag = DAG("d", schedule=None)
    operator.render_template_fields({"all": {"PW": "hush-4711"}})

    with pytest.raises(ValueError, match="render_template_as_native_obj=True") as caught:
        operator.execute({})

    assert "hush" not in str(caught.value)
    assert cloud.requests == []


def test_value_that_is_undefined_is_told_with_its_name(cloud, task):
    operator = task(MageUpdateClusterEnvVarsOperator, env_vars={"A": "{{ no_such }}"}).operator
    operator.dag = DAG("d", schedule=None, render_template_as_native_obj=True)
    operator.render_template_fields({})

    with pytest.raises(ValueError, match=r"`env_vars`: the value of 'A' is a template .* no 'no_such'"):
        operator.execute({})
    assert cloud.requests == []


def test_values_may_come_from_other_tasks(cloud):
    with DAG("d", schedule=None) as dag:
        source = MageStopClusterOperator(task_id="source", cluster_id="c1")
        MageUpdateClusterEnvVarsOperator(task_id="t", cluster_id="c1", env_vars={"PW": source.output})

    assert dag.get_task("t").upstream_task_ids == {"source"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env_vars": ["A"]}, "must be a dictionary of names and values, not list"),
        ({"env_vars": {"A": None}}, "'A' must be a text or a number"),
        ({"env_vars": {"A": True}}, "'A' must be a text or a number"),
        ({"env_vars": {"A": "x\0"}}, "the value of 'A' holds a NUL character"),
        ({"env_vars": {"": "x"}}, "cannot be the name"),
        ({"env_vars": {"A=B": "x"}}, "cannot be the name"),
        ({"env_vars": {"A": "x"}, "remove": ["A"]}, "name it once"),
        ({"remove": "ENV"}, "list of names"),
        ({}, "nothing to do"),
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(cloud, task, arguments, message):
    with pytest.raises(ValueError, match=message):
        task(MageUpdateClusterEnvVarsOperator, **arguments).run()
    assert cloud.requests == []


def test_fifty_processes_of_one_host_lose_nothing(cloud, tmp_path):
    command = [sys.executable, "-c", WRITERS, cloud.url, cloud.email, cloud.password, "50"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own

    assert done.returncode == 0, done.stderr
    env = cloud.env("c1")
    assert {name for name in env if name.startswith("VAR_")} == {f"VAR_{number}" for number in range(50)}
    assert list(env)[:2] == ["ENV", "TOKEN"]
    assert cloud.count("PUT") == 50
    assert cloud.log_ins == 1


def foreign_writer(cloud, name, value="foreign"):
    """Do what another client does: read, change, write."""
    config = json.loads(json.dumps(cloud.cloud.teams["team-1"]["c1"].config))
    config["extraEnvs"].append({"name": name, "value": value})
    cloud.cloud.teams["team-1"]["c1"].config = config


@pytest.mark.parametrize("read", [1, 2, 3])
def test_foreign_write_before_our_last_read_loses_nothing(cloud, handle, monkeypatch, read):
    """Before the first read, before the one that confirms it, and before the one that looks at the result."""
    reads = iter(range(1, 100))
    original = handle.client.session.get

    def get(*path, **params):
        if next(reads) == read:
            foreign_writer(cloud, "FOREIGN")
        return original(*path, **params)

    monkeypatch.setattr(handle.client.session, "get", get)
    env_vars.update_env_vars(handle, {"OURS": "1"})

    assert {"ENV", "TOKEN", "FOREIGN", "OURS"} <= set(cloud.env("c1"))


def test_foreign_write_between_every_two_reads_ends_in_an_error_that_says_so(cloud, handle, monkeypatch):
    monkeypatch.setattr(change, "UNREST_PATIENCE", 1.0)
    numbers = iter(range(1000))
    original = handle.client.session.get

    def get(*path, **params):
        foreign_writer(cloud, f"F{next(numbers)}")
        return original(*path, **params)

    monkeypatch.setattr(handle.client.session, "get", get)

    with pytest.raises(MageError, match="others keep changing it"):
        env_vars.update_env_vars(handle, {"OURS": "1"})
    assert cloud.count("PUT") == 0


def test_writer_who_undoes_ours_with_an_older_config_is_noticed(cloud, handle):
    cluster = cloud.cloud.teams["team-1"]["c1"]
    stale = json.loads(json.dumps(cluster.config))
    stale["extraEnvs"].append({"name": "FOREIGN", "value": "1"})

    def overwrite(request, answer):
        cluster.config = stale
        return answer

    cloud.inject(Fault("overwritten", is_processed=True, change=overwrite), match=("PUT", "clusters"))
    env_vars.update_env_vars(handle, {"OURS": "1"})

    assert {"FOREIGN", "OURS"} <= set(cloud.env("c1"))


def test_threads_of_one_process_take_turns_too(cloud, handle):
    threads = [
        threading.Thread(target=env_vars.update_env_vars, args=(handle, {f"T{number}": "1"}))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {f"T{number}" for number in range(8)} <= set(cloud.env("c1"))
    assert cloud.count("PUT") == 8


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), NotImplementedError()])
def test_no_locks_no_turns_but_the_change_is_made(cloud, handle, monkeypatch, caplog, error):
    def refuse(*args):
        raise error

    monkeypatch.setattr(fcntl, "flock", refuse)
    env_vars.update_env_vars(handle, {"OURS": "1"})
    env_vars.update_env_vars(handle, {"OURS": "2"})

    assert cloud.env("c1")["OURS"] == "2"
    assert caplog.text.count("one may change a cluster while another does") == 1


def test_no_disk_no_turns_but_the_change_is_made(cloud, handle, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    env_vars.update_env_vars(handle, {"OURS": "1"})

    assert "OURS" in cloud.env("c1")
    assert "one may change a cluster while another does. The reason: Not a directory" in caplog.text


def test_operator_never_defers(cloud, task):
    try:
        task(MageUpdateClusterEnvVarsOperator, env_vars={"A": "1"}).operator.execute({})
    except TaskDeferred:
        pytest.fail("it has nothing to wait for")
