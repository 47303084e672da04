"""The reference engine: what every other engine must answer, written to be read rather than to be fast.

`store` is what a disk would hold; `book` (leases, connections) and `recovery` are what a restart forgets. `attempts`
ends attempts and jobs, `admission` says what stands in a job's way, `log` keeps the events. Over them stand the rooms
of the verbs: `membership`, `intake`, `handout`, `outcomes`, `orders`, `settings`, `upkeep`, `reading`; `engine` leads
to them.
"""

from tqbroker_broker.storage.memory.engine import MemoryEngine
from tqbroker_broker.storage.memory.store import MemoryStore

__all__ = ["MemoryEngine", "MemoryStore"]
