import json
from pathlib import Path

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import transformer


@transformer
def transform_kinds(item, *args, **kwargs):
    """Run as a dynamic block."""
    (Path(kwargs["echo_to"]) / f"dynamic_{item['item']}").write_text(json.dumps(kwargs, default=str))
    return item
