if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import transformer


@transformer
def clean_orders(batch, *args, **kwargs):
    """Leave the refunds out."""
    kept = batch[batch["amount"] > 0]
    print(f"kept {len(kept)} of {len(batch)} orders")
    return kept
