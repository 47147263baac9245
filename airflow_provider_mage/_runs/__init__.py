"""The life of the one Mage run that stands for an Airflow task: asked for, waited for, judged, cancelled."""
