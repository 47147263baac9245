"""A wait follows its Airflow connection, and only says that Mage is lost when that has not changed."""

import pytest

from airflow_provider_mage._waiting.connected import Connected
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageAuthError, MageNotFoundError, MageTransportError
from airflow_provider_mage.api.session import MageSession

OLD, NEW = (MageClient(MageSession(f"http://{host}.test/api")) for host in ("old", "new"))
LOST = MageTransportError("no answer", temporary=True)


def ask(connections, failure):
    """Ask a question that only the new server answers; return the answer and how often was connected."""
    left, asked = iter(connections), []

    def connect():
        asked.append(1)
        connection = next(left)
        if isinstance(connection, Exception):
            raise connection
        return connection

    def question(client):
        if client is OLD:
            raise failure
        return "answer"

    return Connected(connect).ask(question), len(asked)


@pytest.mark.parametrize("failure", [LOST, MageTransportError("a web page"), MageAuthError("who?")], ids=str)
def test_connection_is_read_again_before_anybody_is_told(failure):
    assert ask([OLD, NEW], failure) == ("answer", 2)


@pytest.mark.parametrize(
    "failure", [MageNotFoundError("none"), MageAuthError("no", what="Permission")], ids=str
)
def test_connection_is_not_to_blame_for_what_mage_says_of_other_things(failure):
    with pytest.raises(type(failure)):
        ask([OLD, NEW], failure)


@pytest.mark.parametrize("again", [OLD, OSError("the secrets backend is away")], ids=["same", "unreadable"])
def test_failure_is_told_as_it_was_if_the_connection_does_not_help(again):
    with pytest.raises(MageTransportError) as caught:
        ask([OLD, again], LOST)
    assert caught.value is LOST
