"""`make loss-table`: see README.md beside this file, or --help."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    runpy.run_module("tests.benchmarks.tqbench.losses.main", run_name="__main__")
