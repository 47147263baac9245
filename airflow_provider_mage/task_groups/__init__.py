"""Task groups for Mage."""
