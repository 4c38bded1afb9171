"""Assembles runs from settings, and from the settings that an earlier run recorded."""
