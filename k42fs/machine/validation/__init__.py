"""Validation: experiments whose outcome is known beforehand, run on the modelled machine, with a verdict each.

Reading order:

    checks.py        what was expected, what was seen, how far apart they may be
    experiment.py    declaring and finding experiments
    runner.py        running them, in worker processes
    text_plot.py     curves as text
    plots.py         curves as pictures
    report.py        tables, JSON, CSV

All other modules are experiments; `later.py` names those that cannot be run yet. What each one expects and
why is in docs/validation.md.
"""
