import json
from pathlib import Path

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def custom_kinds(*args, **kwargs):
    """Run with a condition before it and a callback after it."""
    (Path(kwargs["echo_to"]) / "custom").write_text(json.dumps(kwargs, default=str))
