"""Airflow connections to Mage, as authenticated clients."""
