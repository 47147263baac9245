if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import transformer


@transformer
def check_orders(batch, *args, **kwargs):
    """Refuse a day with refunds in it."""
    refunds = batch[batch["amount"] < 0]
    if len(refunds):
        raise ValueError(f"{len(refunds)} of {len(batch)} orders have a negative amount")
    return batch
