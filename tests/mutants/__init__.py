"""Bugs that are planted on purpose, by room of the product. See registry.py."""
