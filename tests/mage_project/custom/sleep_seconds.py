import time
from pathlib import Path

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def sleep_seconds(*args, **kwargs):
    """Sleep as long as `seconds` says, and on until there is the file `release`, which may say "fail"."""
    time.sleep(float(kwargs.get("seconds", 60)))
    release = kwargs.get("release")
    while release and not Path(release).exists():
        time.sleep(0.5)
    if release and Path(release).read_text() == "fail":
        raise RuntimeError("failed as it was told to")
