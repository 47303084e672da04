"""The reference engine: what every other engine must answer, written to be read rather than to be fast.

`store` is what a disk would hold; `book` (leases, connections) and `recovery` are what a restart forgets. `attempts`
ends attempts and jobs, `handout` gives jobs out, `upkeep` does what time asks for, `engine` is the verbs over them.
"""

from tqbroker_broker.storage.memory.engine import MemoryEngine
from tqbroker_broker.storage.memory.store import MemoryStore

__all__ = ["MemoryEngine", "MemoryStore"]
