"""
Mage over HTTP, with no word of Airflow.

The names below are loaded on first use: a DAG file that imports an operator (which needs the errors
and the models, not the wire) does not pay for ``requests``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mage.api.auth import Credentials, MageAuth
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.cloud import MageCloudClient
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
    from airflow_provider_mage.api.models import (
        BlockRun,
        BlockRunStatus,
        Cluster,
        PipelineRun,
        PipelineRunStatus,
        PipelineSchedule,
        ServerStatus,
    )
    from airflow_provider_mage.api.pro import MageProClient
    from airflow_provider_mage.api.retries import RetryPolicy
    from airflow_provider_mage.api.session import MageSession

__all__ = [
    "BlockRun",
    "BlockRunStatus",
    "Cluster",
    "Credentials",
    "MageAPIError",
    "MageAnswerError",
    "MageAuth",
    "MageAuthError",
    "MageClient",
    "MageCloudClient",
    "MageError",
    "MageNotFoundError",
    "MagePipelineRunFailed",
    "MageProClient",
    "MageSession",
    "MageTransportError",
    "PipelineRun",
    "PipelineRunStatus",
    "PipelineSchedule",
    "RetryPolicy",
    "ServerStatus",
    "StalledError",
]

# The modules that the names are at home in; those that need no ``requests`` first.
_HOMES = ("errors", "models", "retries", "auth", "session", "client", "cloud", "pro")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"{__name__}.{home}")
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
