"""Where files are in the mount, for who looks at a file's object: by the names that directories have cached.

The kernel holds directories with their places, but other files by number alone; their names are in the objects of
the directories they were found in. Nothing is kept up for this: at its first question an asker's FilePaths reads the
cached names of the directories that the kernel holds, once, and then it answers from what it read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.objects.translation import MissHandler
    from k42fs.personality.face import Face

NAMES_MAX: Final = 100_000
"""Names that are read at most: the mount serves nobody meanwhile."""


class FilePaths:
    """Answers for one question. A file with several names has one of them, one with none that is cached has none."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._found: dict[FSFile, str] | None = None

    def of(self, root: MissHandler | None) -> str:
        """Return where the file or directory of an object is; "" if that is not known, or it is of none."""
        file = getattr(getattr(root, "speaker", None), "file", None)
        return self.of_file(file) if isinstance(file, FSFile) else ""

    def of_file(self, file: FSFile) -> str:
        """Return where *file* is, "" if that is not known."""
        components = self._face.nodes.path_of(file)
        if components is not None:
            return "/" + b"/".join(components).decode(errors="surrogateescape")
        if file.is_dir:
            return ""
        if self._found is None:
            self._found = self._read()
        return self._found.get(file, "")

    def _read(self) -> dict[FSFile, str]:
        found: dict[FSFile, str] = {}
        count = 0
        for node in self._face.nodes.directories():
            names = self._names(node.file)
            if (count := count + len(names)) > NAMES_MAX:
                break
            before = "/" + b"".join(each + b"/" for each in node.components()).decode(
                errors="surrogateescape"
            )
            for name, holder in names.items():
                found.setdefault(holder.file, before + name.decode(errors="surrogateescape"))
        return found

    def _names(self, directory: FSFile) -> dict[bytes, Any]:
        """Return what the object of *directory* has cached, none if there is no such object or it keeps no names."""
        root = self._face.cos.root_at(directory.obj_ref) if directory.obj_ref else None
        names = getattr(getattr(root, "speaker", None), "names", None)
        return getattr(names, "children", {})
