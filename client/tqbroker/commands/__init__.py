"""Subcommands of `tqbroker` that are clients: one module each, imported when chosen."""
