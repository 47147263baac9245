"""The documentation's three examples, as they stand there, and the same with this package: equal bytes."""

import json

import pytest
import requests

from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

API_KEY = "oMqz2m320NfVERFonfytPFVETfPTHyN5N7db9dLK"
CONFIG = {
    "zone": None,
    "resources": {"requests": {"memory": "4Gi", "cpu": 1.5}, "limits": {}},
    "replicaCount": 3,
    "extraEnvs": [{"name": "B", "value": "2"}, {"name": "A", "value": "ä"}],
    "hosts": ["x", {"path": "/", "ports": [80, 443]}],
    "enabled": True,
    "labels": {"z": "1", "a": "2"},
}


def authenticate_session(base_api, username, password):
    """The documentation's first example; only its base URL is a parameter here."""
    headers = {"Content-Type": "application/json", "X-API-KEY": API_KEY}
    payload = {"session": {"email": username, "password": password}}
    session = requests.Session()
    session.headers = headers
    response = session.post(f"{base_api}/sessions", json=payload)
    if response.json().get("error"):
        raise ValueError(response.text)
    token = response.json()["session"]["token"]
    session.headers["Cookie"] = f"oauth_token={token}"
    return session


def update_cluster_status(base_api, session, team_id, cluster_id, start=True):
    """The documentation's second example."""
    cluster_url = f"{base_api}/teams/{team_id}/clusters/{cluster_id}"
    response = session.get(cluster_url)
    response.raise_for_status()
    cluster = response.json()["cluster"]
    config = cluster.get("config", {})
    config["replicaCount"] = 1 if start else 0
    cluster["status"] = "Active" if start else "Stopped"
    update_payload = {"cluster": {"config": config, "status": cluster["status"]}}
    put_response = session.put(cluster_url, json=update_payload)
    put_response.raise_for_status()


def update_cluster_env_vars(base_api, session, team_id, cluster_id, updates):
    """The documentation's third example."""
    cluster_url = f"{base_api}/teams/{team_id}/clusters/{cluster_id}"
    response = session.get(cluster_url)
    response.raise_for_status()
    cluster = response.json()["cluster"]
    config = cluster.get("config", {})
    existing_envs = config.get("extraEnvs", [])
    env_map = {env["name"]: env["value"] for env in existing_envs}
    env_map.update(updates)
    config["extraEnvs"] = [{"name": k, "value": v} for k, v in env_map.items()]
    update_payload = {"cluster": {"config": config}}
    put_response = session.put(cluster_url, json=update_payload)
    put_response.raise_for_status()


@pytest.fixture
def hook(connect_cloud):
    hook = MageCloudHook(connect_cloud())
    yield hook
    hook.session.http.close()


@pytest.fixture
def documented(cloud):
    session = authenticate_session(cloud.url, cloud.email, cloud.password)
    yield session
    session.close()


def sent(cloud, method, path):
    """Return what the last such request was made of: its path, its body, and who it says it is from."""
    request = cloud.requests_of(method, path)[-1]
    headers = {name: request.headers.get(name) for name in ("content-type", "x-api-key")}
    return request.path, request.body, headers


def test_log_in_is_the_documented_one(cloud, documented, hook):
    cloud_says = sent(cloud, "POST", "/sessions")

    hook.get_conn()

    assert sent(cloud, "POST", "/sessions") == cloud_says
    assert cloud.count("POST", "/sessions") == 2


def test_token_travels_in_the_documented_cookie(cloud, documented, hook):
    cloud.cluster("c1", config=CONFIG)
    hook.client.get_cluster("team-1", "c1")
    [request] = cloud.requests_of("GET", "clusters")

    jwt = request.headers["cookie"].removeprefix("oauth_token=")
    documented_jwt = documented.headers["Cookie"].removeprefix("oauth_token=")
    assert jwt.count(".") == documented_jwt.count(".") == 2
    assert "oauth-token" not in request.headers
    assert request.headers["x-api-key"] == API_KEY


@pytest.mark.parametrize("config", [CONFIG, {}, {"extraEnvs": []}], ids=["full", "empty", "no replicas"])
@pytest.mark.parametrize("start", [True, False], ids=["start", "stop"])
def test_start_and_stop_send_the_documented_request(cloud, documented, hook, start, config):
    cloud.cluster("c1", config=config, status="Stopped" if start else "Active")
    update_cluster_status(cloud.url, documented, "team-1", "c1", start=start)
    documented_request = sent(cloud, "PUT", "clusters")

    cloud.cluster("c1", config=config, status="Stopped" if start else "Active")
    (hook.client.start_cluster if start else hook.client.stop_cluster)("team-1", "c1")

    assert sent(cloud, "PUT", "clusters") == documented_request
    assert cloud.count("PUT") == 2


def test_environment_update_sends_the_documented_request(cloud, documented, hook):
    updates = {"AI_SIDEKICK": "1", "A": "changed", "ENABLE_SOME_FEATURE": "true"}
    cloud.cluster("c1", config=CONFIG)
    update_cluster_env_vars(cloud.url, documented, "team-1", "c1", updates)
    documented_request = sent(cloud, "PUT", "clusters")

    cloud.cluster("c1", config=CONFIG)
    hook.client.update_cluster_env_vars("team-1", "c1", updates)

    assert sent(cloud, "PUT", "clusters") == documented_request
    assert json.loads(documented_request[1])["cluster"].keys() == {"config"}


def test_operators_send_the_same_bytes_as_the_client(cloud, task, documented):
    from airflow_provider_mage.operators.cluster import (
        MageStartClusterOperator,
        MageStopClusterOperator,
        MageUpdateClusterEnvVarsOperator,
    )

    for status, start, operator in (
        ("Stopped", True, MageStartClusterOperator),
        ("Active", False, MageStopClusterOperator),
    ):
        cloud.cluster("c1", config=CONFIG, status=status)
        update_cluster_status(cloud.url, documented, "team-1", "c1", start=start)
        documented_request = sent(cloud, "PUT", "clusters")
        cloud.cluster("c1", config=CONFIG, status=status)
        task(operator).run()
        assert sent(cloud, "PUT", "clusters") == documented_request

    cloud.cluster("c1", config=CONFIG)
    update_cluster_env_vars(cloud.url, documented, "team-1", "c1", {"NEW": "1", "A": "2"})
    documented_request = sent(cloud, "PUT", "clusters")
    cloud.cluster("c1", config=CONFIG)
    task(MageUpdateClusterEnvVarsOperator, env_vars={"NEW": "1", "A": "2"}).run()
    assert sent(cloud, "PUT", "clusters") == documented_request
