"""eventlet and asyncio do each other's work in one thread: python examples/demo --help

A WSGI server of eventlet and a server of aiohttp run in this process. Green code fetches pages of
the first with aiohttp, async code fetches pages of the second with urlopen, and two tickers, one
of each world, measure how long anybody was kept waiting.

    __main__.py   arguments, the hub, the order of things
    bridges.py    how each hub lets one world wait for the other
    servers.py    the two servers
    clients.py    the three kinds of client
    meters.py     what is counted and timed
    report.py     progress bar, table, JSON
"""

import argparse
import os
import sys
import warnings

HUBS = {"epolls": "epolls", "asyncio": "asyncio", "ours": "eventlet_asyncio.hub"}


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def arguments():
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    parser.add_argument("--hub", choices=HUBS, default="ours", help="what drives eventlet")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--requests", type=positive, default=2000, help="requests each way")
    parser.add_argument("--clients", type=positive, default=50, help="how many at once each way")
    parser.add_argument(
        "--patience", type=positive, default=5, help="seconds without progress that are a stall"
    )
    return parser.parse_args()


def main(options):
    import eventlet

    import bridges
    import clients
    import meters
    import report
    import servers

    bridge = bridges.make(options.hub)
    green_url = servers.serve_green()
    async_url = servers.serve_async(bridge)
    # A fifth as many, because the third part is there to show that it works at all.
    direct = max(1, options.requests // 5)
    parts = [
        meters.Part("green code awaits aiohttp", options.requests),
        meters.Part("async code awaits urlopen", options.requests),
        meters.Part("async code calls urlopen", direct),
    ]
    tickers = meters.Tickers(bridge)
    watch = meters.Watch(parts, options.patience, report.progress(parts))

    def both_ways():
        clients.green_code(bridge, parts[0], green_url, options.clients)
        clients.async_code(bridge, parts[1], async_url, options.clients)

    def directly():
        clients.direct_calls(bridge, parts[2], async_url, options.clients)

    watch.until_over(both_ways, parts[:2])
    watch.until_over(directly, parts[2:])
    outcome = report.Outcome(
        hub=options.hub,
        driver=repr(eventlet.hubs.get_hub()),
        parts=parts,
        crossings=bridge.crossings,
        threads=watch.threads,
        longest_wait=tickers.longest_wait(),
    )
    print(outcome.json() if options.json else outcome.table())
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    options = arguments()
    os.environ["EVENTLET_HUB"] = HUBS[options.hub]
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated", Warning)

    import eventlet

    eventlet.monkey_patch()

    status = main(options)
    sys.stdout.flush()
    # A world that stalled would also stall an orderly end.
    os._exit(status)
