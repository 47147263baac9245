"""Operators for Mage."""
