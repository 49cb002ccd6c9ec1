"""All benchmarks: `cargo xtask bench` runs this."""

import sys

import command
from suites import SUITES

if __name__ == "__main__":
    sys.exit(command.main(SUITES))
