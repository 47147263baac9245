import json
from pathlib import Path

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader


@data_loader
def load_kinds(*args, **kwargs):
    """Load two items, for each of which the dynamic block runs."""
    (Path(kwargs["echo_to"]) / "data_loader").write_text(json.dumps(kwargs, default=str))
    return [[{"item": 1}, {"item": 2}], [{"block_uuid": "one"}, {"block_uuid": "two"}]]
