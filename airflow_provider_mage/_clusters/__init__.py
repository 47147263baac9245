"""Mage Pro clusters: brought up, watched, changed and shared."""
