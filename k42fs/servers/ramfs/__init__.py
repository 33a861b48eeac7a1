"""ramfs: a file server in memory.

```text
filesystem.py  RamFS: attributes, contents, the end of an inode     names.py    directories, making and naming
inode.py       the records, which are the tokens                    entries.py  a directory's names in two orders
sparse.py      a file's bytes, holes costing nothing                xattr.py    extended attributes and ACLs
space.py       what a processor may use, and what taking it costs   budget.py, numbers.py: the supplies
```
"""

from k42fs.servers.ramfs.budget import UNLIMITED
from k42fs.servers.ramfs.filesystem import FILE_MAX, RamFS

__all__ = ["FILE_MAX", "UNLIMITED", "RamFS"]
