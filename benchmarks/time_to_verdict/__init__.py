"""Replays, tokens and wall time to a verdict, against replaying every candidate on every case, at equal error rates.

Simulated: thousands of runs of known truth, decided both ways from the same outcomes. Real: one run of the product on the
tiny substrate, and the same candidates replayed on everything; the simulation must count what that run counted.
"""

from benchmarks.measure import Result
from benchmarks.time_to_verdict import real, simulated

RUNS = 2000
PEER = (
    "every proposal on every case, baseline replayed once, no honeypots or long lives; exact McNemar test on held-out "
    "pairs at alpha over all proposals, times a factor by which it shows a gain of nothing as often as ours"
)


def measure(small: bool) -> Result:
    return {
        "what": "replays, tokens and wall time from sealed batch to verdict",
        "peers": {"exhaustive": PEER},
        "simulated": simulated.measure(10 if small else RUNS),
        "real": real.measure(small),
    }
