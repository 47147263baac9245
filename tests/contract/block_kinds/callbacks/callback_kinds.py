import json
from pathlib import Path

if "callback" not in globals():
    from mage_ai.data_preparation.decorators import callback


@callback("success")
def callback_kinds(parent_block_data, **kwargs):
    """Run after the block."""
    (Path(kwargs["echo_to"]) / "callback").write_text(json.dumps(kwargs, default=str))
