"""Experiments of `k42fs machine validate` that need objects and file servers, which the machine knows nothing of.

private_files.py    E9: independent requests meet no shared line
"""
