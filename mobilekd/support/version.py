"""This package's version, in a file that costs nothing to import."""

#: ``pyproject.toml`` says the same.
VERSION = "0.1.0"
