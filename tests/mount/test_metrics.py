"""`.k42/metrics` on a real mount: whole and strict at any moment, and true."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tests.personality.exposition import parse

from .mounting import K42Mount


def write_files(directory: Path, over: threading.Event) -> None:
    turn = 0
    while not over.is_set():
        (directory / f"f{turn % 10}").write_bytes(b"x" * 100)
        turn += 1


def test_it_can_be_scraped_while_the_mount_works(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=4")
    control = mount.path / ".k42"
    over = threading.Event()
    worker = threading.Thread(target=write_files, args=(mount.path, over))
    worker.start()
    try:
        scrapes = [parse((control / "metrics").read_text()) for _ in range(5)]
    finally:
        over.set()
        worker.join()
    for first, second in pairwise(scrapes):
        for name in ("k42fs_requests_total", "k42fs_machine_seconds_total", "process_cpu_seconds_total"):
            for labels, value in first[name].values.items():
                assert second[name].values[labels] >= value
    assert sum(scrapes[-1]["k42fs_requests_total"].values.values()) > sum(
        scrapes[0]["k42fs_requests_total"].values.values()
    )
    last = parse((control / "metrics").read_text())
    about = json.loads((control / "processors.json").read_text())
    for row in about["per_processor"]:
        assert last["k42fs_processor_requests_total"].value(vp=str(row["vp"])) == row["operations"]
    assert last["k42fs_processors"].value() == 4
    assert last["process_start_time_seconds"].value() <= os.stat(control / "metrics").st_mtime + 5
    mount.stop()
