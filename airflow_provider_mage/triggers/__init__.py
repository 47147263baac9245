"""Triggers for Mage."""
