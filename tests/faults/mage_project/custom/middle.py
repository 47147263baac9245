from pathlib import Path

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def middle(*args, **kwargs):
    """Write to the file `journal` that this block has run; with `fails_once`, fail the first time."""
    journal = Path(kwargs["journal"])
    is_first_time = "middle" not in journal.read_text()
    with journal.open("a") as file:
        file.write("middle\n")
    if is_first_time and kwargs.get("fails_once"):
        raise RuntimeError("the warehouse is not open yet")
