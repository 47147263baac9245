from pathlib import Path

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import transformer


@transformer
def need_file(batch, *args, **kwargs):
    """Fail until there is a file where the variable `needed_file` says."""
    if not Path(kwargs["needed_file"]).exists():
        raise FileNotFoundError(f"no file {kwargs['needed_file']} yet")
    return batch
