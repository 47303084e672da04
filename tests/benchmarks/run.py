"""`make bench`: see README.md beside this file, or --help."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tqbench.main", run_name="__main__")
