"""One experiment that passes, one that fails, one that raises, one that cannot be run."""

from k42fs.machine.validation.checks import SAME, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment, Unavailable


def good(effort: Effort) -> Findings:
    points = tuple((float(x), 2.0 * x) for x in range(1, effort.pick(quick=3, normal=9)))
    plot = Plot(title="twice", x="x", y="2 x", series=(Series("seen", points), Series("line", points, True)))
    return Findings((Check("twice two", 4, 4, SAME, "apples"),), (plot,), ("It was four.",))


def bad(effort: Effort) -> Findings:
    return Findings((Check("fine", 1, 1, SAME), Check("off", 1.0, 1.5, relative(0.1))))


def raises(effort: Effort) -> Findings:
    raise RuntimeError("no such machine")


EXPERIMENTS = (
    Experiment("E10", "good", good, weight=1),
    Experiment("E2", "bad", bad, weight=3),
    Experiment("E9", "raises", raises, weight=2),
    Unavailable("E11", "later", "comes with the moon"),
)
