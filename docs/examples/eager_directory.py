"""A directory that learns all its names at the first look-up: `k42fs update DirObject eager_directory.py`."""

from k42fs.ids import VP
from k42fs.machine import Thread
from k42fs.objects import CObjRoot, COSMgr, SingleRepRoot
from k42fs.objects.factory import Replacement
from k42fs.servers.dir_object import DirObject
from k42fs.servers.fs_file import FSFile
from k42fs.servers.fs_global import FileSystemGlobal


class EagerDirObject(DirObject):
    implementation = "eager"
    is_learned = False

    async def lookup(self, th: Thread, name: bytes) -> FSFile:
        if not self.is_learned:
            await self.dirlock.acquire_w(th)  # names are added under it, as `names` asks for
            try:
                if not self.closing:
                    for each, file, _ in await self.tree.fs.get_dents(th, self.file, 0, 500):
                        await self.names.bind(th, each, file)
                    self.is_learned = True
            finally:
                self.dirlock.release_w(th)
        return await super().lookup(th, name)


def make(cos: COSMgr, th: Thread, old: CObjRoot) -> SingleRepRoot:
    rep = EagerDirObject(old.speaker.tree, old.speaker.file, th.vp)  # its state is imported next
    return SingleRepRoot(cos, rep, th.vp, ref=old.ref)


def create(tree: FileSystemGlobal, file: FSFile, vp: VP) -> EagerDirObject:
    rep = EagerDirObject(tree, file, vp)
    SingleRepRoot(tree.cos, rep, vp)
    return rep


REPLACEMENT = Replacement(kind="DirObject", name="eager", version=2, make=make, create=create)
