"""Benchmarks of the mounted file system.

`python -m bench.fuse_ops`         rates of k42fs, a lean reference, a passthrough and tmpfs, side by side
`python -m bench.profile_request`  where the daemon's time goes for one kind of request

fuse_client.py  the measured process: one client loop, told by JSON lines what to measure
rows.py         what each row of the table does
mounts.py       start and stop one target
results.py      medians, ratios, table, JSON, CSV
reference_fs.py, passthrough_fs.py  the two file systems measured against; daemons.py: what both need
"""
