import json
from pathlib import Path

if "condition" not in globals():
    from mage_ai.data_preparation.decorators import condition


@condition
def condition_kinds(*args, **kwargs):
    """Let the block run."""
    (Path(kwargs["echo_to"]) / "condition").write_text(json.dumps(kwargs, default=str))
    return True
