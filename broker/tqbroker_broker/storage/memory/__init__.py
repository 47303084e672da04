"""The reference engine: what every other engine must answer, written to be read rather than to be fast.

`store` is what a disk would hold, `workflows` the part of it that is about workflows; `book` (leases, connections) and
`recovery` are what a restart forgets. `attempts` ends attempts and jobs, `joins` moves those that wait for them,
`reopening` lets them wait again, `merging` makes one workflow of two; `inputs` and `places` say what jobs are handed,
`admission` what stands in their way; `dropping` is the end of what is not kept, `log` keeps the events. Over them stand
the rooms of the verbs: `membership`, `intake`, `submission`, `handout`, `outcomes`, `orders`, `settings`, `firing`,
`upkeep`, `reading`, `overview`; `engine` leads to them.
"""

from tqbroker_broker.storage.memory.engine import MemoryEngine
from tqbroker_broker.storage.memory.store import MemoryStore

__all__ = ["MemoryEngine", "MemoryStore"]
