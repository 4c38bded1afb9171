"""How components are found: hook specifications, discovery through entry points, settings."""
