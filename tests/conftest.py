"""Settings shared by every test folder."""

from __future__ import annotations

from hypothesis import settings

# A shared host stalls now and then; a slow example is no failure, the time limit of the test is the judge.
settings.register_profile("k42fs", deadline=None)
settings.load_profile("k42fs")
