"""A block's output as the result of a task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import BlockRunStatus
from airflow_provider_mage.api.names import MOST_NAMES, did_you_mean

if TYPE_CHECKING:
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import BlockRun, PipelineRun

USUAL_BYTES = 48 * 1024
"""What an XCom may well hold: it is a row of Airflow's database, which other tasks read as a whole."""


def read_output(client: MageClient, pipeline_run_id: int, block_uuid: str, most_bytes: int) -> Any:
    """
    Read what a block of a completed run has returned.

    :param client: The Mage server.
    :param pipeline_run_id: The run.
    :param block_uuid: The block.
    :param most_bytes: The most bytes that it may have as JSON.
    :return: Plain JSON.
    :raises MageError: If the block did not run, has returned nothing, or too much. That the run has completed
        is said as well.
    """
    run = client.get_pipeline_run(pipeline_run_id)
    try:
        output = client.read_output(find_block(run, block_uuid))
        _check_output(output, block_uuid, most_bytes)
    except MageError as error:
        failure = MageError(f"{run.name} completed, but its output cannot be had. {error}")
    else:
        return output
    raise failure


def _check_output(output: Any, block_uuid: str, most_bytes: int) -> None:
    if output is None:
        raise MageError(
            f"Block {block_uuid} has no output: it has returned nothing, None or an empty list. Let it "
            "return something, or name another block in `output_block`."
        )
    size = len(json.dumps(output).encode())
    if size > most_bytes:
        raise MageError(
            f"The output of block {block_uuid} has {size} bytes as JSON, more than the {most_bytes} that "
            "`max_output_bytes` allows: let the block store it (in object storage, a table), and return "
            "where it is."
        )


def find_block(run: PipelineRun, block_uuid: str) -> BlockRun:
    """Return the block run of a block that has completed, or raise a MageError that says what is wrong."""
    own = {block.block_uuid: block for block in run.block_runs}
    children = [name for name in own if name.startswith(f"{block_uuid}:")]
    if children:
        names = ", ".join(children[:MOST_NAMES])
        raise MageError(f"Block {block_uuid} ran once for each item of a dynamic block: name one of {names}.")
    if block_uuid not in own:
        raise MageError(f"{run.name} has no block {block_uuid!r}: {did_you_mean(block_uuid, own)}")
    block = own[block_uuid]
    if block.status is not BlockRunStatus.COMPLETED:
        raise MageError(f"Block {block_uuid} did not run to its end: it is {block.status.value}.")
    return block
