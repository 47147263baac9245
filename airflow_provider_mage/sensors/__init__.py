"""Sensors for Mage."""
