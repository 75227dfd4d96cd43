"""Shipped recipes, one TOML file each; the file name is the recipe's name."""
