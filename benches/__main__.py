"""All benchmarks of the Python package: `cargo xtask bench` runs this."""

import sys

import bridge
import command
import growth
import hub
import loop

SUITES = [hub.SUITE, bridge.SUITE, loop.SUITE, growth.SUITE]

if __name__ == "__main__":
    sys.exit(command.main(SUITES))
