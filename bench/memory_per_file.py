"""What one empty file costs the daemon in memory, and how long a mount takes.

Creates N empty files (100,000) on a k42fs mount, in directories of 1,000, and reads the daemon's resident
memory before and after, once with everything the kernel still remembers and once after it was told to
forget. Also prints the time from the mount command to its return.

    python -m bench.memory_per_file [--files N] [--model full|calls|off]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if not __package__:  # run as a file: python bench/memory_per_file.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.mounts import ROOT, unmount

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of *pid*."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmRSS")


def k42fs(*words: str) -> None:
    """Run one k42fs command."""
    subprocess.run([sys.executable, "-m", "k42fs.cli.main", *words], cwd=ROOT, check=True)


def create(directory: Path, files: int) -> None:
    """Make the files."""
    for number in range(files):
        if number % 1000 == 0:
            folder = directory / f"{number // 1000}"
            folder.mkdir()
        os.close(os.open(folder / f"{number}", os.O_CREAT | os.O_WRONLY, 0o644))


def settle(pid: int) -> int:
    """Return the daemon's memory once it stops changing."""
    before = -1
    for _ in range(40):
        now = resident_bytes(pid)
        if abs(now - before) < 1 << 16:
            break
        before = now
        time.sleep(0.5)
    return now


def measure(files: int, model: str) -> dict[str, float]:
    """Mount, create, forget, unmount; return the figures."""
    with tempfile.TemporaryDirectory(prefix="k42fs-memory-") as scratch:
        mount_point = Path(scratch) / "m"
        mount_point.mkdir()
        start = time.perf_counter()
        k42fs("mount", "-o", f"model={model}", str(mount_point))
        mount_seconds = time.perf_counter() - start
        try:
            pid = int(json.loads((mount_point / ".k42" / "config.json").read_text())["pid"])
            empty = settle(pid)
            create(mount_point, files)
            known = settle(pid)
            if os.access(DROP_CACHES, os.W_OK):
                DROP_CACHES.write_text("2\n")
            time.sleep(3)
            cold = settle(pid)
        finally:
            unmount(mount_point)
    return {
        "mount_seconds": round(mount_seconds, 3),
        "daemon_mib_empty": round(empty / 2**20, 1),
        "bytes_per_file_known_to_kernel": round((known - empty) / files),
        "bytes_per_file_forgotten": round((cold - empty) / files),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--model", choices=["full", "calls", "off"], default="full")
    arguments = parser.parse_args()
    for key, value in measure(arguments.files, arguments.model).items():
        print(f"{key:32} {value:>12,}")


if __name__ == "__main__":
    main()
