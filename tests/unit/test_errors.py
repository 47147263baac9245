import copy
import json
import pickle
import re

import pytest

from airflow_provider_mage import api
from airflow_provider_mage.api import errors
from airflow_provider_mage.api.errors import (
    MageAnswerError,
    MageAPIError,
    MageAuthError,
    MageError,
    MageNotFoundError,
    MagePipelineRunFailed,
    MageTransportError,
    StalledError,
)
from airflow_provider_mage.triggers.event import make_event, read_event

EXAMPLES = [
    MageError("no"),
    MageTransportError("gone", may_have_arrived=True, temporary=True, retry_after=3.5),
    MageAnswerError("nonsense", may_have_arrived=True, is_too_large=True),
    MageAPIError("no", code=500, type="odd", reason="because", temporary=True),
    MageAuthError("who?", what="API key", code=401, type="invalid_api_key", reason="Invalid."),
    MageNotFoundError("none", code=404, type="record_not_found", reason="gone"),
    MagePipelineRunFailed("failed", pipeline_run_id=7, status="failed", failed_blocks=("a", "b")),
    StalledError("still"),
]


def all_errors(root=MageError):
    """Walk the tree, wherever its classes are at home."""
    return [root, *(found for child in root.__subclasses__() for found in all_errors(child))]


def through_an_event(error):
    return read_event(json.loads(json.dumps(make_event(error, pipeline_run_id=7))), "pipeline_run_id")[1]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "travel",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, through_an_event],  # noqa: S301
)
def test_errors_survive_the_way_to_another_process(error, travel):
    arrived = travel(error)

    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))


def test_every_error_has_an_example_above():
    assert {type(example) for example in EXAMPLES} == set(all_errors())


def test_whoever_catches_mage_error_catches_them_all():
    assert all(issubclass(error, MageError) for error in all_errors())
    assert issubclass(MageAuthError, MageAPIError)
    assert issubclass(MageNotFoundError, MageAPIError)
    assert not issubclass(MageTransportError, MageAPIError)
    assert not issubclass(MagePipelineRunFailed, MageAPIError)


def test_tree_at_the_top_of_the_module_shows_every_error():
    for error in all_errors():
        assert re.search(rf"\b{error.__name__}\b", errors.__doc__)


def test_all_lists_what_the_api_package_offers():
    for name in api.__all__:
        assert getattr(api, name).__name__ == name
    assert {error.__name__ for error in all_errors()} <= set(api.__all__)
    assert {"MageClient", "MageCloudClient", "MageSession", "MageAuth", "Credentials"} <= set(api.__all__)


def test_api_package_says_what_it_does_not_have():
    with pytest.raises(AttributeError, match="'Pipeline'"):
        api.Pipeline  # noqa: B018
