if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter


@data_exporter
def export_totals(batch, *args, **kwargs):
    """Report the turnover of each country."""
    totals = batch.groupby("country")["amount"].sum().round(2)
    for country, total in totals.items():
        print(f"{country}: {total}")
    return totals.reset_index()
