"""Explores schedules of the bridge: random programs of green and async code, struck at random points.

* `trees`: what a program is: nodes that call one another, and what strikes them.
* `schedule`: what a program runs with: pauses, and the trace of what happened to whom.
* `strikes`: what strikes a running program.
* `interpret`: a tree as a program in Python, which is also the script that replays it.
* `model`: how each node ends if nothing strikes.
* `reach`, `judge`: whom a strike reaches; what each node must see then.
* `explore`: runs a program, and looks at what it leaves behind.
* `shrink`: makes a program that fails smaller.

`python -m tests.explorer --seeds 0:10000` runs many, `--seed 7` shows one, and `--script 7` prints it as a program of
its own.
"""
