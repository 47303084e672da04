"""Ways to run jobs inside a child, one module each."""
