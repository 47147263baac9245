"""The sensor, in every mode."""

import threading
from functools import partial

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
)

from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.sensors.cluster import MageClusterSensor
from fakes.faults import http_error

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])


@pytest.fixture
def sensor(task):
    return partial(task, MageClusterSensor)


@BOTH
@pytest.mark.parametrize(("status", "before"), [("Active", "Stopped"), ("Stopped", "Active")])
def test_sensor_waits_for_the_status(cloud, sensor, deferrable, status, before):
    cluster = cloud.cluster("c1", status=before)
    threading.Timer(0.3, lambda: cluster.order(status, 0)).start()

    sensor(deferrable=deferrable, status=status).run()

    assert cloud.status("c1") == status
    assert cloud.count("PUT") == 0


def test_one_look_is_enough_to_reschedule(cloud, sensor):
    operator = sensor().operator

    assert operator.poke({}) is False
    cloud.cluster("c1", status="Active")
    assert operator.poke({}) is True


@BOTH
def test_failure_like_status_fails_at_once(cloud, sensor, deferrable):
    cloud.cluster("c1", status="Failed")

    with pytest.raises(MageError, match="'Failed'"):
        sensor(deferrable=deferrable).run()


@BOTH
def test_failure_like_status_can_be_waited_for(cloud, sensor, deferrable):
    cloud.cluster("c1", status="Failed")

    sensor(deferrable=deferrable, status="Failed").run()


@BOTH
@pytest.mark.parametrize(
    ("arguments", "error"), [({}, AirflowSensorTimeout), ({"soft_fail": True}, AirflowSkipException)]
)
def test_time_out_means_the_same_in_every_mode(sensor, deferrable, arguments, error):
    with pytest.raises(error):
        sensor(deferrable=deferrable, timeout=0.3, **arguments).run()


@BOTH
def test_never_fail_skips_on_any_failure(cloud, sensor, deferrable):
    cloud.cluster("c1", status="Failed")

    with pytest.raises(AirflowSkipException):
        sensor(deferrable=deferrable, never_fail=True).run()


MODES = pytest.mark.parametrize(
    "mode", [{}, {"mode": "reschedule"}, {"deferrable": True}], ids=["poke", "reschedule", "deferrable"]
)


@MODES
@pytest.mark.parametrize("arguments", [{}, {"soft_fail": True}], ids=str)
def test_sensor_without_a_connection_is_red(sensor, monkeypatch, mode, arguments):
    # Airflow 2 asks its database since when the task is being rescheduled.
    since = f"{BaseSensorOperator.__module__}._orig_start_date"
    monkeypatch.setattr(since, lambda **_: None, raising=False)
    with pytest.raises(AirflowException) as caught:
        sensor(mage_cloud_conn_id="no_such", **mode, **arguments).run()

    assert not isinstance(caught.value, AirflowSkipException)


@pytest.mark.parametrize("arguments", [{}, {"soft_fail": True}], ids=str)
def test_sensor_whose_connection_is_deleted_while_it_is_deferred_is_red(
    cloud, sensor, connect_cloud, edited, monkeypatch, arguments
):
    conn_id = connect_cloud()
    delete = edited(lambda _: monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id.upper()}"))
    cloud.inject(delete, match=("GET", "clusters"))

    with pytest.raises((AirflowException, MageError)) as caught:
        sensor(mage_cloud_conn_id=conn_id, deferrable=True, **arguments).run()

    assert not isinstance(caught.value, (AirflowSkipException, AirflowSensorTimeout))


@BOTH
def test_outage_is_no_answer(cloud, sensor, deferrable):
    cluster = cloud.cluster("c1")
    cloud.inject(http_error(503), times=4, match=("GET", "clusters"))
    threading.Timer(0.3, lambda: cluster.order("Active", 0)).start()

    sensor(deferrable=deferrable).run()


@BOTH
@pytest.mark.parametrize("status", ["Active", "active"])
def test_active_cluster_has_to_answer_too_if_its_connection_is_given(
    sensor, deferrable, cloud, mage, connect, status
):
    cloud.cluster("c1", status="Active")
    mage.inject(http_error(503), times=2, match=("GET", "/api/status"))

    sensor(deferrable=deferrable, mage_conn_id=connect("mage"), status=status).run()

    assert mage.count("GET", "/api/status") == 3


def test_log_says_once_that_mage_cloud_is_out_of_reach_and_once_that_it_is_back(cloud, sensor, caplog):
    cluster = cloud.cluster("c1")
    cloud.inject(http_error(503), times=4, match=("GET", "clusters"))
    threading.Timer(0.3, lambda: cluster.order("Active", 0)).start()

    with caplog.at_level("INFO"):
        sensor().run()

    assert caplog.text.count("Cannot reach Mage Cloud; the state of cluster c1 is unknown. Retrying.") == 1
    assert caplog.text.count("Mage Cloud can be reached again.") == 1
