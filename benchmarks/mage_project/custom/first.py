from pathlib import Path

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def first(*args, **kwargs):
    """Leave a trace of each time that this block is executed."""
    with Path(kwargs["journal"]).open("a") as journal:
        journal.write("first\n")
