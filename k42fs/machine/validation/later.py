"""Experiments of the specification that this project cannot run yet, by name."""

from __future__ import annotations

from typing import Final

from k42fs.machine.validation.experiment import Unavailable

WITH_WORKLOADS: Final = "come with the workloads"

EXPERIMENTS: Final = (
    Unavailable("E15", "SDET-like mix on s85-24, objects distributed", WITH_WORKLOADS),
    Unavailable("E16", "the same mix with centralised objects", WITH_WORKLOADS),
    Unavailable("E17", "postmark-like instances, 4 and 24 on s85-24", WITH_WORKLOADS),
)
