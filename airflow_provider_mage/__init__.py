"""The Apache Airflow provider for Mage."""

__version__ = "0.1.0"
