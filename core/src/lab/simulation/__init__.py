"""An event loop in virtual time with its network in memory. Imports the standard library only."""
