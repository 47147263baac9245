import time

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def sleep_seconds(*args, **kwargs):
    """Sleep as long as the variable `seconds` says."""
    time.sleep(float(kwargs.get("seconds", 60)))
