"""Zarr in an object store, with every key taken as it is; `specscale.places.objects` says why."""

from __future__ import annotations

from contextlib import suppress

from zarr.storage import FsspecStore

__all__ = ["ExactStore"]


class ExactStore(FsspecStore):
    """A store of Zarr that removes the keys that it is told to, and none that they match as patterns."""

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        self._check_writable()
        with suppress(*self.allowed_exceptions):
            await self.fs._rm_file(f"{self.path}/{key}")

    async def delete_dir(self, prefix: str) -> None:
        """Remove all objects in a folder."""
        self._check_writable()
        with suppress(*self.allowed_exceptions):
            for path in await self.fs._find(f"{self.path}/{prefix}".rstrip("/")):
                await self.fs._rm_file(path)

    async def clear(self) -> None:
        """Remove all objects."""
        await self.delete_dir("")
