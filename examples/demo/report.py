"""What a person sees while the demo runs, and what is printed at the end."""

import dataclasses
import json
import platform
import sys

import eventlet

BAR = 40


def progress(parts):
    """A function that redraws the progress bar, or does nothing where nobody would see it."""
    if not sys.stderr.isatty():
        return lambda: None
    requests = sum(part.requests for part in parts)

    def show():
        ended = sum(part.done + part.failed for part in parts)
        failed = sum(part.failed for part in parts)
        filled = BAR * ended // requests
        end = "\r\033[K" if ended == requests else ""
        bar = "#" * filled + "-" * (BAR - filled)
        print(
            f"\r[{bar}] {ended}/{requests} requests, {failed} errors{end}",
            end="",
            file=sys.stderr,
            flush=True,
        )

    return show


@dataclasses.dataclass
class Outcome:
    hub: str
    driver: str
    parts: list
    crossings: int
    threads: int
    longest_wait: dict

    @property
    def passed(self):
        return all(part.passed for part in self.parts)

    def json(self):
        return json.dumps(
            {
                "hub": self.hub,
                "driver": self.driver,
                "python": platform.python_version(),
                "eventlet": eventlet.__version__,
                "passed": self.passed,
                "parts": [part_as_dict(part) for part in self.parts],
                "crossings": self.crossings,
                "threads": self.threads,
                "longest_wait_ms": {
                    world: round(1e3 * wait, 3) for world, wait in self.longest_wait.items()
                },
            }
        )

    def table(self):
        head = ["", "requests", "done", "errors", "requests/s", "p50 ms", "p99 ms", "outcome"]
        rows = [head] + [row(part_as_dict(part)) for part in self.parts]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["", f"{self.driver}, Python {platform.python_version()}", ""]
        for name, *numbers, outcome in rows:
            cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:])]
            lines.append("  ".join([name.ljust(widths[0]), *cells, outcome]))
        lines.append("")
        for part in self.parts:
            for error, count in part.errors.most_common(2):
                lines.append(f"{part.name}: {count} x {error}")
        lines += [
            f"crossings between the worlds   {self.crossings}",
            f"threads used                   {self.threads}",
        ]
        for world, wait in self.longest_wait.items():
            lines.append(f"longest wait, {world} ticker".ljust(31) + f"{1e3 * wait:.1f} ms")
        return "\n".join(lines)


def part_as_dict(part):
    def milliseconds(percent):
        seconds = part.percentile(percent)
        return None if seconds is None else round(1e3 * seconds, 3)

    return {
        "name": part.name,
        "requests": part.requests,
        "done": part.done,
        "errors": part.failed,
        "error_texts": dict(part.errors.most_common(5)),
        "seconds": round(part.seconds, 3),
        "per_second": round(part.done / part.seconds, 1) if part.seconds else None,
        "p50_ms": milliseconds(50),
        "p99_ms": milliseconds(99),
        "outcome": outcome(part),
    }


def outcome(part):
    if part.stalled:
        return "STALLED"
    return "ok" if part.passed else "FAILED"


def row(part):
    def number(value):
        return "-" if value is None else f"{value:.1f}"

    return [
        part["name"],
        str(part["requests"]),
        str(part["done"]),
        str(part["errors"]),
        number(part["per_second"]),
        number(part["p50_ms"]),
        number(part["p99_ms"]),
        part["outcome"],
    ]
