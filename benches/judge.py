"""What the samples of a row say: ratios pair by pair, how far they spread, and whether an aim is met.

A record is a row as it stands in the JSON: `harness.record()` makes one.
"""

import statistics

SUBJECT = "ours"
# Between its quartiles a ratio may vary by this part of its median before nothing can be said.
WIDEST = 0.25

MET, CLOSE, BELOW = "met", "close", "BELOW"
WIDE, FAILED, UNKNOWN = "spread too wide", "FAILED", "not measured"


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def values(record, contender, attribute="cost"):
    """One value a round, in the unit of the row."""
    samples = record["samples"].get(contender, ())
    return [sample[attribute] for sample in samples if sample[attribute] is not None]


def median(record, contender, attribute="cost"):
    found = values(record, contender, attribute)
    return statistics.median(found) if found else None


def figure(record, contender, name):
    samples = record["samples"].get(contender, ())
    found = [sample["figures"][name] for sample in samples if name in sample["figures"]]
    return statistics.median(found) if found else None


def ratios(record, contender, attribute="cost"):
    """In each round, the other's cost by ours."""
    samples = record["samples"]
    pairs = zip(samples.get(SUBJECT, ()), samples.get(contender, ()))
    costs = [(ours[attribute], other[attribute]) for ours, other in pairs]
    return [other / ours for ours, other in costs if ours and other is not None]


def judge(ratios, aim):
    low, high = quartiles(ratios)
    middle = statistics.median(ratios)
    if high - low > WIDEST * middle:
        return WIDE
    if low < aim <= high:
        return CLOSE
    return MET if middle >= aim else BELOW


def verdict(record, contender):
    """Whether the aim against a contender is met; for the subject, whether its limit is kept."""
    if SUBJECT in record["failures"] or contender in record["failures"]:
        return FAILED
    if contender == SUBJECT:
        costs = values(record, SUBJECT)
        if not costs:
            return UNKNOWN
        return MET if statistics.median(costs) <= record["limit"] else BELOW
    found = ratios(record, contender)
    return judge(found, record["aims"][contender]) if found else UNKNOWN


def judged(record):
    """Contenders for which there is a verdict: those with an aim, and us where we have a limit."""
    return [*([SUBJECT] if record["limit"] is not None else []), *record["aims"]]


def failed(records):
    """Whether a row computed something wrong, or could not run."""
    return any(record["failures"] for record in records)
