"""Networks as torch modules, by name."""
