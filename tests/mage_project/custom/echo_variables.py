import json
from pathlib import Path

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def echo_variables(*args, **kwargs):
    """Return, as JSON, what variables a block sees; also write it to the file that `echo_to` names."""
    seen = json.dumps(kwargs, default=str, sort_keys=True)
    if "echo_to" in kwargs:
        Path(kwargs["echo_to"]).write_text(seen)
    return seen
