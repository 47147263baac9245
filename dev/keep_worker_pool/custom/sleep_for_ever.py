import time

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def sleep_for_ever(*args, **kwargs):
    """Keep one worker busy, so that Mage's worker pool never finds itself idle and leaves."""
    while True:
        time.sleep(3600)
