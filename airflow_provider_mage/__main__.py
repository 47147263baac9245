"""``python -m airflow_provider_mage``: what is to be done beside Airflow."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def snapshot_of(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what a task group has to know of a pipeline, and nothing that changes without need.

    :param pipeline: The pipeline, as Mage sends it.
    :return: Plain JSON, for the ``blocks`` of a
        :class:`~airflow_provider_mage.task_groups.pipeline.MagePipelineTaskGroup`.
    """
    from airflow_provider_mage._runs.blocks import read_blocks

    blocks = [
        {"uuid": block.uuid, "upstream_blocks": list(block.upstream)} for block in read_blocks(pipeline)
    ]
    return {"uuid": pipeline.get("uuid"), "type": pipeline.get("type"), "blocks": blocks}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Do what the command line says.

    :param arguments: Those of the command line, by default this process's.
    :return: The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_mage")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    snapshot = commands.add_parser(
        "snapshot", help="print the blocks of a pipeline, for a MagePipelineTaskGroup, as JSON"
    )
    snapshot.add_argument("pipeline_uuid", help="the pipeline")
    snapshot.add_argument(
        "--mage-conn-id", default="mage_default", help="the Airflow connection (default: %(default)s)"
    )
    given = parser.parse_args(arguments)

    # Airflow 2 logs to standard output, which is for the snapshot alone.
    with redirect_stdout(sys.stderr):
        from airflow.models import Connection
        from airflow.providers.common.compat.sdk import AirflowException

        from airflow_provider_mage.api.errors import MageError
        from airflow_provider_mage.hooks.mage import MageHook

        class Hook(MageHook):
            """One that looks for connections in Airflow's database, too, as on Airflow 3 only servers do."""

            @classmethod
            def get_connection(cls, conn_id: str) -> Any:
                return Connection.get_connection_from_secrets(conn_id)  # noqa: AIR311  the SDK's reads no database

        try:
            pipeline = Hook(given.mage_conn_id).client.get_pipeline(given.pipeline_uuid)
            text = json.dumps(snapshot_of(pipeline), indent=2)
        except (AirflowException, MageError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
