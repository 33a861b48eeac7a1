"""Experiments of `k42fs machine validate` that need objects and file servers, which the machine knows nothing of.

file_caches.py      E8: one shared file in three file caches, and the switch that contention triggers
private_files.py    E9: independent requests meet no shared line
"""
