"""Draws the results: bars of ratios for each suite, and a curve for each kind of growth.

Each chart is drawn twice, for light and for dark pages; its background is transparent. What is
drawn is drawn the same way each time, so that only other figures make another file.
"""

import io
import os
import re
import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

import judge
from growth import CURVES
from judge import SUBJECT

THEMES = {
    "light": {"text": "#1f2328", "grid": "#d1d9e0"},
    "dark": {"text": "#e6edf3", "grid": "#3d444d"},
}
# By contender; mid-tones that stand out on white and on black alike, and for the colour-blind.
COLOURS = {
    SUBJECT: "#1a9e77",
    "epolls": "#d95f02",
    "eventlet": "#d95f02",
    "asyncio": "#e0559c",
    "uvloop": "#7a75d6",
    "gevent": "#7a75d6",
    "greenletio": "#b58900",
    "BinaryHeap": "#b58900",
    "rloop": "#3b8fd4",
    "ms slots": "#3b8fd4",
    "c": "#8b8f94",
}
MARKERS = {SUBJECT: "o", "rloop": "v", "ms slots": "v", "c": "D", "asyncio": "s", "epolls": "s"}
VERDICTS = {
    judge.MET: "#1a9e77",
    judge.CLOSE: "#b58900",
    judge.BELOW: "#d95f02",
}
WORDS = {judge.MET: "met", judge.CLOSE: "close to it", judge.BELOW: "below it"}


def draw_all(records, directory):
    """Writes all charts there and gives their names and titles by what they are about."""
    os.makedirs(directory, exist_ok=True)
    for file in os.listdir(directory):
        os.remove(os.path.join(directory, file))
    drawn = {}
    for suite, title in (
        ("hub", "The hub against eventlet's own and gevent"),
        ("bridge", "The bridge against its peers"),
        ("loop", "The event loop against asyncio, uvloop and C"),
    ):
        bars = bars_of([record for record in records if record["suite"] == suite])
        if bars:
            save(directory, suite, lambda theme, bars=bars, title=title: draw_bars(bars, title))
            drawn[suite] = title
    for curve, about in CURVES.items():
        points = [each for each in records if each["point"] and each["point"][0] == curve]
        if len(points) > 1:
            save(directory, curve, lambda theme, p=points, about=about: draw_curve(p, about))
            drawn[curve] = about.title
    return drawn


def save(directory, name, draw):
    for theme, colours in THEMES.items():
        settings = {
            "svg.hashsalt": name,
            # Text stays text: small files, and DejaVu is wider than what stands in for it.
            "svg.fonttype": "none",
            "font.family": ["DejaVu Sans"],
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "text.color": colours["text"],
            "axes.labelcolor": colours["text"],
            "axes.edgecolor": colours["text"],
            "xtick.color": colours["text"],
            "ytick.color": colours["text"],
            "grid.color": colours["grid"],
        }
        with plt.rc_context(settings):
            figure = draw(theme)
            path = os.path.join(directory, f"{name}-{theme}.svg")
            drawn = io.StringIO()
            figure.savefig(drawn, transparent=True, metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)
            with open(path, "w") as file:
                file.write(compact(drawn.getvalue()))


def compact(drawn):
    """Without the line breaks that say nothing, and with fonts for who has not got that one."""
    drawn = drawn.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, Arial, sans-serif")
    return re.sub(r">\s+<", "><", re.sub(r"[ \t]*\n[ \t]*", " ", drawn)).strip() + "\n"


def bars_of(records):
    """A bar for each aim: its name, whose it is, the ratio's quartiles and median, and the aim."""
    bars = []
    for record in records:
        for contender, aim in record["aims"].items():
            ratios = judge.ratios(record, contender)
            if ratios:
                low, high = judge.quartiles(ratios)
                middle = statistics.median(ratios)
                verdict = judge.verdict(record, contender)
                bars.append((record["row"], contender, low, middle, high, aim, verdict))
    return bars


def draw_bars(bars, title):
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.34 * len(bars)))
    for place, (row, contender, low, middle, high, aim, verdict) in enumerate(bars):
        colour = VERDICTS.get(verdict, "#8b8f94")
        axes.barh(place, middle - 1, left=1, height=0.62, color=colour)
        text = plt.rcParams["text.color"]
        axes.plot([low, high], [place, place], color=text, linewidth=1.2)
        axes.plot([aim, aim], [place - 0.42, place + 0.42], color=text, linewidth=2)
        note = f"{middle:.2f}" if middle < 10 else f"{middle:.1f}"
        if verdict not in VERDICTS:
            note += f" ({verdict})"
        axes.annotate(
            note, (max(middle, high, aim, 1), place), xytext=(6, 0), textcoords="offset points",
            va="center",
        )
    axes.set_xscale("log")
    smallest = min(min(low, aim) for _, _, low, _, _, aim, _ in bars)
    largest = max(max(high, aim) for _, _, _, _, high, aim, _ in bars)
    axes.set_xlim(min(0.8, smallest * 0.85), largest * 1.8)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(1, color=plt.rcParams["text.color"], linewidth=0.8)
    names = [f"{row}, against {contender}" for row, contender, *_ in bars]
    axes.set_yticks(range(len(bars)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlabel("their cost of one operation, ours being 1 (logarithmic)")
    axes.set_title(title, loc="left", pad=24)
    keys = [plt.Line2D([], [], color=plt.rcParams["text.color"], linewidth=2)]
    words = ["aim"]
    for verdict in (judge.MET, judge.CLOSE, judge.BELOW):
        if any(bar[-1] == verdict for bar in bars):
            keys.append(plt.Rectangle((0, 0), 1, 1, color=VERDICTS[verdict]))
            words.append(WORDS[verdict])
    axes.legend(
        keys, words, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.3,
        handlelength=1.2,
    )
    return figure


def draw_headlines(bars):
    """A few ratios in words, largest first, without aims."""
    bars = sorted(bars, key=lambda bar: -bar[3])
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.36 * len(bars)))
    for place, (_, _, low, middle, high, *_) in enumerate(bars):
        axes.barh(place, middle, height=0.62, color=COLOURS[SUBJECT])
        axes.plot([low, high], [place, place], color=plt.rcParams["text.color"], linewidth=1.2)
        axes.annotate(
            f"{middle:.1f} times", (max(middle, high), place), xytext=(6, 0),
            textcoords="offset points", va="center",
        )
    axes.set_xlim(0, max(bar[4] for bar in bars) * 1.18)
    axes.axvline(1, color=plt.rcParams["text.color"], linewidth=1)
    axes.set_yticks(range(len(bars)), [bar[0] for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("their processor time for one operation, ours being 1")
    return figure


def lines_of(points, value):
    """By contender, places on the axis and values there."""
    lines = {}
    for record in sorted(points, key=lambda record: record["point"][1]):
        for contender in record["samples"]:
            found = value(record, contender)
            if found is not None:
                at, values = lines.setdefault(contender, ([], []))
                at.append(record["point"][1])
                values.append(found)
    return lines


def draw_curve(points, about):
    unit = {"us": "microseconds"}.get(points[0]["unit"], "nanoseconds")
    panels = [(f"{unit} an operation", lines_of(points, judge.median))]
    if about.memory:
        large = [each for each in points if each["point"][1] >= about.memory_from]
        memory = lines_of(large, lambda *each: judge.figure(*each, about.memory))
        panels.append((about.memory, memory))
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(8, 3.1) if len(panels) > 1 else (5, 3.1), squeeze=False,
        layout="constrained",
    )
    for axes, (label, lines) in zip(all_axes[0], panels):
        for contender, (at, values) in lines.items():
            axes.plot(
                at, values, label=contender, color=COLOURS.get(contender, "#8b8f94"),
                marker=MARKERS.get(contender, "^"), markersize=5,
                linewidth=2.4 if contender == SUBJECT else 1.5,
                zorder=3 if contender == SUBJECT else 2,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(about.axis)
        axes.set_ylabel(label)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(short))
            axis.set_minor_formatter(NullFormatter())
        low, high = spread(lines)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
        axes.set_ylim(low / 1.3, high * 1.3)
        axes.grid(linewidth=0.6)
        axes.tick_params(which="minor", length=0)
    figure.suptitle(about.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    handles, labels = all_axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=5, handlelength=1.8)
    return figure


def spread(lines):
    values = [value for _, values in lines.values() for value in values if value > 0] or [1]
    return min(values), max(values)


def short(value, _=None):
    """1000000 as 1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
