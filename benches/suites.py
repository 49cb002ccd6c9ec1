"""All suites of the Python package."""

import bridge
import growth
import hub
import loop

SUITES = [hub.SUITE, bridge.SUITE, loop.SUITE, growth.SUITE]
