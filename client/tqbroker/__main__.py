"""python -m tqbroker"""

from tqbroker.cli import main

main()
