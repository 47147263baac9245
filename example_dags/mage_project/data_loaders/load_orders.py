import random

import pandas as pd

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader

COUNTRIES = ("DE", "FR", "NL", "PT")


@data_loader
def load_orders(*args, **kwargs):
    """Make the day's orders: one in ten is a refund, that is, has a negative amount."""
    count = int(kwargs.get("orders", 40))
    draw = random.Random(count)
    return pd.DataFrame(
        {
            "order_id": range(1, count + 1),
            "country": [draw.choice(COUNTRIES) for _ in range(count)],
            "amount": [
                round(draw.uniform(5, 200), 2) * (-1 if number % 10 == 9 else 1) for number in range(count)
            ],
        }
    )
