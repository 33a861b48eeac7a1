"""How long `k42fs machine run` takes for a trace like those of a coherence course: 4 processors, a file each.

    python bench/machine_run.py [--accesses 10000000] [--repeat 3]

The references are 55 % to a hot page of the processor's own, 30 % to a megabyte of its own in order, 14 % reads of data
that all read, 1 % to a page that all read and write; every second one is followed by some cycles of work. Each
processor's file repeats a block of 250 000 references. Prints the best of some runs: wall time and processor time, of
the whole command from its start to its end, in seconds.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROCESSORS = 4
BLOCK = 250_000


def block(cpu: int, accesses: int) -> str:
    """Return some references of processor *cpu*, in the format cs4223."""
    dice = random.Random(cpu)
    own, at, lines = 0x10000000 * (cpu + 1), 0, []
    for _ in range(accesses):
        where = dice.random()
        writes = dice.random() < 0.3
        if where < 0.55:
            address = own + 4 * dice.randrange(1024)
        elif where < 0.85:
            at = (at + 4) % (1 << 20)
            address = own + 0x100000 + at
        elif where < 0.99:
            address, writes = 0x9000000 + 4 * dice.randrange(1 << 14), False
        else:
            address = 0x8000000 + 4 * dice.randrange(1024)
        lines.append(f"{int(writes)} {address:#x}\n")
        if dice.random() < 0.5:
            lines.append(f"2 {dice.randrange(1, 20):#x}\n")
    return "".join(lines)


def write_trace(folder: Path, accesses: int) -> None:
    """Write a file per processor, *accesses* references in all."""
    for cpu in range(PROCESSORS):
        left = accesses // PROCESSORS
        text = block(cpu, min(left, BLOCK))
        with (folder / f"course_{cpu}.data").open("w") as file:
            while left >= BLOCK:
                file.write(text)
                left -= BLOCK
            if left:
                file.write(block(cpu, left))


def timed(folder: Path) -> tuple[float, float]:
    """Run the command once; return wall seconds and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "-m", "k42fs.cli.main", "machine", "run", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accesses", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_trace(Path(folder), options.accesses)
        runs = [timed(Path(folder)) for _ in range(options.repeat)]
    wall, spent = min(run[0] for run in runs), min(run[1] for run in runs)
    print(
        f"{options.accesses} accesses, {PROCESSORS} processors: {wall:.2f} s wall, {spent:.2f} s of processor time"
    )


if __name__ == "__main__":
    main()
