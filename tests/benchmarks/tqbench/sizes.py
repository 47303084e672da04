"""How much of each work: enough to be steady, little enough to be typed often."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Sizes:
    """Jobs or calls of one round, unless the name says otherwise."""

    rounds: int
    calls: int
    threads: int
    bulk: int
    round_trips: int
    rival_calls: int
    rival_round_trips: int
    footprint_first: int
    footprint_more: int
    starts: int
    delayed: int
    delayed_lead_s: float
    """Seconds from the start of filling until the first delayed job is due."""
    delayed_span_s: float
    lanes: int
    limited_s: int
    backlog: int
    chord: int
    """Members of a group and of a chord; also measured with a tenth as many."""
    chord_rounds: int
    """Times that jobs, groups and chords of this size are measured, in turn."""
    chord_large: int
    """Those of a large group and chord, which are measured once."""
    links: int


FULL = Sizes(
    rounds=5,
    calls=2000,
    threads=4000,
    bulk=200_000,
    round_trips=500,
    rival_calls=1000,
    rival_round_trips=200,
    footprint_first=200_000,
    footprint_more=1_000_000,
    starts=15,
    delayed=200_000,
    delayed_lead_s=20.0,
    delayed_span_s=10.0,
    lanes=100_000,
    limited_s=10,
    backlog=500_000,
    chord=10_000,
    chord_rounds=7,
    chord_large=100_000,
    links=2000,
)
QUICK = Sizes(
    rounds=3,
    calls=1000,
    threads=2000,
    bulk=100_000,
    round_trips=300,
    rival_calls=1000,
    rival_round_trips=150,
    footprint_first=200_000,
    footprint_more=1_000_000,
    starts=9,
    delayed=100_000,
    delayed_lead_s=12.0,
    delayed_span_s=5.0,
    lanes=100_000,
    limited_s=5,
    backlog=200_000,
    chord=10_000,
    chord_rounds=3,
    chord_large=100_000,
    links=500,
)
TINY = Sizes(
    rounds=1,
    calls=50,
    threads=40,
    bulk=500,
    round_trips=20,
    rival_calls=50,
    rival_round_trips=20,
    footprint_first=500,
    footprint_more=1000,
    starts=1,
    delayed=500,
    delayed_lead_s=5.0,
    delayed_span_s=1.0,
    lanes=200,
    limited_s=1,
    backlog=2000,
    chord=200,
    chord_rounds=1,
    chord_large=1000,
    links=20,
)
MILLION = replace(FULL, delayed=1_000_000, delayed_lead_s=90.0, delayed_span_s=20.0)
