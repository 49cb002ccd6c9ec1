"""Writes `RESULTS.md`, its charts and a part of the README from the samples of a run.

    python benches/results.py SAMPLES.json

Run it where `benches/environments/charts.txt` is installed.
"""

import json
import os
import statistics
import sys

import charts
import judge
import table
from growth import CURVES
from judge import SUBJECT

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(os.path.dirname(HERE), "README.md")
BEGIN, END = "<!-- written by cargo xtask bench --write -->", "<!-- end of what is written -->"
MAIN = "https://github.com/evio-project/evio/raw/main/benches"
# What the README tells: a row, who is compared, and what it is in words.
RATIOS = [
    ("hub.echo", "epolls", "an echo between 50 green connections", "eventlet's epolls hub"),
    (
        "bridge.await-thread",
        "asyncio",
        "a green thread awaits a coroutine",
        "eventlet's asyncio hub",
    ),
    ("loop.protocol-1kb", "asyncio", "an echo of 1 kB by asyncio protocols", "asyncio's own loop"),
]
BARS = [
    ("hub.yield", "epolls", "eventlet.sleep(0), epolls hub"),
    ("hub.spawn", "epolls", "spawn and wait, epolls hub"),
    ("hub.timeout", "epolls", "Timeout, epolls hub"),
    ("hub.echo", "epolls", "green echo, epolls hub"),
    ("bridge.await-thread", "asyncio", "green code awaits, eventlet's asyncio hub"),
    ("bridge.await-green", "asyncio", "await of a green thread, eventlet's asyncio hub"),
    ("loop.protocol-1kb", "asyncio", "protocol echo, asyncio"),
    ("loop.streams-1kb", "asyncio", "streams echo, asyncio"),
    ("loop.protocol-1kb", "uvloop", "protocol echo, uvloop"),
]
SUITES = {
    "hub": "The hub",
    "bridge": "The bridge",
    "loop": "The event loop",
    "timers": "The timer wheel alone",
    "reactor": "The reactor alone",
}


def picture(name, title, base="charts"):
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{base}/{name}-dark.svg">'
        f'<img alt="{title}" src="{base}/{name}-light.svg"></picture>'
    )


def rows_of(head, lines, right=1):
    """A table, whose columns from `right` on are numbers."""
    marks = ["---" if at < right else "---:" for at in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, marks, *lines)]


def aims(records):
    head = ["row", "ours", "against", "ratio", "quartiles", "aim", "instructions", "verdict"]
    return rows_of(head, [[cells[each] for each in head] for cells in table.verdicts(records)])


def costs(records):
    """What an operation costs everybody."""
    names = list(dict.fromkeys(name for record in records for name in record["samples"]))
    # Variants of ours stand in a column of theirs only where they were measured.
    lines = []
    for record in records:
        cells = [f"{record['row']}: {record['about']}", record["unit"]]
        for name in names:
            cost = judge.median(record, name)
            cells.append("" if cost is None else table.number(cost))
        lines.append(cells)
    return rows_of(["row", "unit", *names], lines, 2)


def failures(records):
    return [
        f"* {table.name(record)}: {contender}: {said}"
        for record in records
        for contender, said in record["failures"].items()
    ]


def counted(records):
    lines = []
    for record in records:
        for contender, calls in record["calls"].items():
            each = sorted(calls.items(), key=lambda item: -item[1])
            text = ", ".join(f"{name} {count:g}" for name, count in each) or "none"
            number = record["instructions"].get(contender)
            count = "" if number is None else f"{number:,}"
            lines.append([table.name(record), contender, count, text])
    return rows_of(["row", "contender", "instructions", "system calls"], lines, 9)


def curve(points):
    points = sorted(points, key=lambda record: record["point"][1])
    about = CURVES[points[0]["point"][0]]
    names = list(dict.fromkeys(name for record in points for name in record["samples"]))
    unit = points[0]["unit"]
    head = [about.axis, *(f"{name}, {unit}" for name in names)]
    if about.memory:
        head += [f"{name}, {about.memory}" for name in names]
    lines = []
    for record in points:
        found = [judge.median(record, name) for name in names]
        if about.memory:
            small = record["point"][1] < about.memory_from
            memory = [judge.figure(record, name, about.memory) for name in names]
            found += [None if small else value for value in memory]
        cells = ["" if value is None else table.number(value) for value in found]
        lines.append([f"{record['point'][1]:,}", *cells])
    return rows_of(head, lines, 0)


def document(around, records, drawn):
    measured = [record for record in records if record["suite"] in SUITES]
    versions = ", ".join(f"{name} {each}" for name, each in around["packages"].items())
    lines = [
        "# Results",
        "",
        f"Written on {around['date']} by `cargo xtask bench --write"
        f"{' --quick' * around['quick']}`, which measured for {around['minutes']} minutes.",
        "",
        f"* {around['processor']}, {around['processors']} processors, {around['system']}; load"
        f" {around['load before'][0]} before and {around['load after'][0]} after",
        f"* CPython {around['python']}, compiled by {around['compiler']}",
        f"* {versions}",
        "",
        "Every contender runs in processes of its own, in an environment of its own, pinned to one"
        " processor, in turn with all others of the row, after a round to warm up. What is compared"
        " is processor time, and the clock for the timer wheel alone. A ratio is how many times our"
        " cost theirs is, formed in each round: the median, between its quartiles. Where these are too far apart to say anything, the"
        " verdict is that; *close* says that the aim is between them. Beside it stands how many"
        " times our instructions theirs are, counted by callgrind, which do not depend on the"
        " neighbours. Every row checks what it computed, and fails if that is wrong.",
        "",
        "*fresh* is a process that never freed 128 KiB at once: there the C library maps and unmaps"
        " every such piece of memory, which asyncio asks for at each receive. In all others one was"
        " freed at the start, as sooner or later in whatever runs for long.",
        "",
        table.count(measured) + ".",
    ]
    if around.get("instructions", "") not in ("", "callgrind"):
        lines += ["", f"Instructions are left out: {around['instructions']}."]
    elif "instructions" not in around:
        lines += ["", "Instructions and system calls were not counted, as the run was a quick one."]
    if wrong := failures(records):
        lines += ["", "Rows that failed:", "", *wrong]
    for suite, title in SUITES.items():
        rows = [record for record in records if record["suite"] == suite]
        if not rows:
            continue
        lines += ["", f"## {title}", ""]
        if suite in drawn:
            lines += [picture(suite, drawn[suite]), ""]
        if any(judge.judged(record) for record in rows):
            lines += [*aims(rows), "", "Medians of all, also of those without an aim:", ""]
        lines += costs(rows)
    growing = [name for name in CURVES if name in drawn]
    if growing:
        lines += ["", "## How costs grow", ""]
        lines += ["Where memory is told, it is that of the process of a contender, both sides of"]
        lines += ["whatever is in it. Fewer connections than the axis says are as many as"]
        lines += ["descriptors allowed."]
    for name in growing:
        points = [each for each in records if each["point"] and each["point"][0] == name]
        lines += ["", f"### {CURVES[name].title}", "", picture(name, drawn[name]), ""]
        lines += curve(points)
    if any(record["calls"] for record in records):
        lines += ["", "## Instructions and system calls of one operation", ""]
        lines += counted(records)
    return "\n".join(lines) + "\n"


def ratio(records, name, contender):
    for record in records:
        if table.name(record) == name and judge.ratios(record, contender):
            return statistics.median(judge.ratios(record, contender))
    return None


def readme(around, records):
    """The part of the README, if the run has what it tells."""
    lines = [BEGIN, picture("readme", "Processor time of others for one operation", f"{MAIN}/charts")]
    lines += [
        "",
        f"Measured on {around['date']} with CPython {around['python']}: how many times our"
        " processor time others need. Each line ends with the command that measures it on your"
        " machine.",
        "",
    ]
    for name, contender, what, whom in RATIOS:
        found = ratio(records, name, contender)
        if found is None:
            return None
        lines.append(f"* {what}: **{found:.1f}x** on {whom} – `cargo xtask bench {name}`")
    return "\n".join([*lines, "", END])


def replace(text, part):
    before, found, rest = text.partition(BEGIN)
    if not found:
        raise SystemExit(f"README.md has no line {BEGIN}")
    return before + part + rest.partition(END)[2]


def main(file):
    with open(file) as samples:
        run = json.load(samples)
    around, records = run["around"], run["rows"]
    directory = os.path.join(HERE, "charts")
    drawn = charts.draw_all(records, directory)
    bars = []
    for name, contender, words in BARS:
        for record in records:
            if table.name(record) == name:
                bars += [
                    (words, *bar[1:]) for bar in charts.bars_of([record]) if bar[1] == contender
                ]
    if bars:
        charts.save(directory, "readme", lambda theme: charts.draw_headlines(bars))
    with open(os.path.join(HERE, "RESULTS.md"), "w") as results:
        results.write(document(around, records, drawn))
    if part := readme(around, records):
        with open(README) as old:
            text = replace(old.read(), part)
        with open(README, "w") as new:
            new.write(text)
    print(f"wrote {os.path.relpath(HERE)}/RESULTS.md, charts{' and README.md' * bool(part)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
