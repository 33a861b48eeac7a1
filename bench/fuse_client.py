"""The measured process: told over standard input what to run where, it answers with a rate.

It is a process of its own, so that neither the daemon nor the program that prints the table shares its
interpreter. Each line of input is a JSON object {"row", "directory", "seconds"}; each line of output is
{"rate"} or {"error"}. A measurement runs in a directory of its own, removed afterwards, and uses relative
names: no path walk is measured.

Usage: python -m bench.fuse_client   (started by bench.fuse_ops)
"""

import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Generator
from typing import cast

from bench.rows import ROWS, Batch

ROW_OF = {row.name: row for row in ROWS}


def measure(row_name: str, seconds: float) -> float:
    """Return units per second of *row_name* in the working directory, over *seconds* of timed work."""
    spent = done = 0.0
    clock = time.perf_counter
    batches = cast("Generator[Batch, None, None]", ROW_OF[row_name].batches())
    wall_end = clock() + 4 * seconds  # preparation is not timed, but it is bounded
    gc.disable()
    try:
        for run, units in batches:
            start = clock()
            run()
            spent += clock() - start
            done += units
            if spent >= seconds or clock() >= wall_end:
                break
    finally:
        batches.close()
        gc.enable()
    return done / spent


def answer(request: dict[str, str | float]) -> dict[str, str | float]:
    directory = os.path.join(str(request["directory"]), "bench")
    home = os.getcwd()
    os.mkdir(directory)
    try:
        os.chdir(directory)
        return {"rate": measure(str(request["row"]), float(request["seconds"]))}
    except Exception as exc:  # the client must live on: one row that fails is one row without a figure
        return {"error": f"{type(exc).__name__}: {exc}"}
    finally:
        os.chdir(home)
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except OSError as exc:
            reply = {"error": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
