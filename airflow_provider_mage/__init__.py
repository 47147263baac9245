"""The Apache Airflow provider for Mage."""

__version__ = "0.2.0"
