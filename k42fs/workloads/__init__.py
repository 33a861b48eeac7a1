"""Workloads: programs of file operations on a whole system in virtual time.

validation/    experiments with known outcomes that need the K42 objects, see `machine/validation`
"""
