"""What the terminal shows: each row as it was measured, and at the end all that have an aim."""

import statistics

import judge
from judge import SUBJECT


def name(record):
    return f"{record['suite']}.{record['row']}"


def number(value):
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(record):
    """The lines of one row."""
    lines = ["", f"{name(record)}: {record['about']}"]
    for contender, said in record["failures"].items():
        lines.append(f"  {contender:22} FAILED: {said}")
    for contender in record["missing"]:
        lines.append(f"  {contender:22} left out, it is not installed")
    for contender, samples in record["samples"].items():
        lines.append(f"  {contender:22}{costs(record, contender)}{against(record, contender)}")
        for figure in samples[0]["figures"]:
            middle = judge.figure(record, contender, figure)
            lines.append(f"{'':24}{middle:11,.3f} {figure}")
    return "\n".join(lines)


def costs(record, contender):
    found = judge.values(record, contender)
    text = f"{statistics.median(found):11,.3f} {record['unit']}"
    text += f" ({min(found):,.3f}-{max(found):,.3f})"
    clock = judge.median(record, contender, "clock")
    if clock is not None:
        text += f", clock {clock:,.3f}"
    return f"{text:52}"


def against(record, contender):
    if contender == SUBJECT:
        if record["limit"] is None:
            return ""
        verdict = judge.verdict(record, contender)
        return f" limit {record['limit']:g} {record['unit']}: {verdict}"
    ratios = judge.ratios(record, contender)
    if not ratios:
        return ""
    text = f" {statistics.median(ratios):6.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
    clock = judge.ratios(record, contender, "clock")
    if clock:
        text += f", clock {statistics.median(clock):.2f}x"
    if contender in record["aims"]:
        aim = record["aims"][contender]
        text += f", aim {aim:.3g}x: {judge.verdict(record, contender)}"
    return text


def verdicts(records):
    """One row of cells for each aim."""
    for record in records:
        for contender in judge.judged(record):
            ours = judge.median(record, SUBJECT)
            cells = {
                "row": name(record),
                "ours": "–" if ours is None else f"{number(ours)} {record['unit']}",
                "against": "limit" if contender == SUBJECT else contender,
                "ratio": "",
                "quartiles": "",
                "aim": "",
                "instructions": instructions(record, contender),
                "verdict": judge.verdict(record, contender),
            }
            if contender == SUBJECT:
                cells["aim"] = f"{record['limit']:g} {record['unit']}"
            else:
                cells["aim"] = f"{record['aims'][contender]:.3g}x"
                if ratios := judge.ratios(record, contender):
                    low, high = judge.quartiles(ratios)
                    cells["ratio"] = f"{statistics.median(ratios):.2f}x"
                    cells["quartiles"] = f"{low:.2f}-{high:.2f}"
            yield cells


def instructions(record, contender):
    """How many times our instructions the other takes."""
    counts = record["instructions"]
    if contender == SUBJECT or not counts.get(SUBJECT) or contender not in counts:
        return ""
    return f"{counts[contender] / counts[SUBJECT]:.2f}x"


def count(records):
    """How many aims have which verdict, in words."""
    found = [cells["verdict"] for cells in verdicts(records)]
    parts = [f"{found.count(each)} {each}" for each in dict.fromkeys(sorted(found))]
    return f"{len(found)} aims: {', '.join(parts)}"


def summary(records):
    """All aims, and whether they are met."""
    table = list(verdicts(records))
    if not table:
        return ""
    widths = {key: max(len(key), *(len(cells[key]) for cells in table)) for key in table[0]}
    lines = ["", "  ".join(f"{key:{width}}" for key, width in widths.items())]
    for cells in table:
        lines.append("  ".join(f"{cells[key]:{width}}" for key, width in widths.items()))
    return "\n".join([*lines, "", count(records)])


def counted(records):
    """Instructions and system calls of one operation."""
    lines = []
    for record in records:
        for contender, calls in record["calls"].items():
            each = sorted(calls.items(), key=lambda item: -item[1])
            text = ", ".join(f"{call} {times:g}" for call, times in each) or "none"
            count = record["instructions"].get(contender)
            count = "–" if count is None else f"{count:,}"
            lines.append(f"{name(record):24}  {contender:22}  {count:>11}  {text}")
    head = f"{'row':24}  {'contender':22}  {'instructions':>11}  system calls"
    return "\n".join(["", "Of one operation:", head, *lines]) if lines else ""
