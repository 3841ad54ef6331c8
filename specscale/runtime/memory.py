"""Memory: what a run may take of this machine, within the limits of its control groups, and what this process holds."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import psutil

__all__ = ["available_memory", "left_by_groups", "peak_memory", "resident_memory", "return_memory"]


def available_memory() -> int:
    """Bytes of memory a run may take by default: four fifths of what is free, here and in its control groups."""
    free = psutil.virtual_memory().available
    left = left_by_groups()
    return int(0.8 * (free if left is None else min(free, left)))


class _Files(NamedTuple):
    """What the files of a control group are called, in one of the two versions."""

    limits: tuple[str, ...]
    used: str
    cache: str  # in memory.stat: read from files and not used of late, which the kernel takes back first
    inherited: str  # in memory.stat: the least limit of the groups above it, in sight or not


_FILES = {
    "cgroup2": _Files(("memory.max", "memory.high"), "memory.current", "inactive_file", ""),
    "cgroup": _Files(
        ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file", "hierarchical_memory_limit"
    ),
}
_USUAL = [("cgroup2", "/", "/sys/fs/cgroup"), ("cgroup", "/", "/sys/fs/cgroup/memory")]
_NO_LIMIT = 1 << 60  # the first version writes none as a large number


def left_by_groups(root: Path = Path("/")) -> int | None:
    """Bytes that the control groups of this process leave to it, of both versions and up to the outermost.

    What other processes of a group hold, as those of the same job, is taken off its limit.

    Parameters
    ----------
    root : the file system that holds ``proc`` and ``sys``

    Returns
    -------
    int or None
        The least of all groups; None where none has a limit.
    """
    left = [one for version, folder in _groups(root) if (one := _left(folder, _FILES[version])) is not None]
    return max(0, min(left)) if left else None


def _groups(root: Path) -> Iterator[tuple[str, Path]]:
    """Version and folder of each control group that this process is in, from its own to the outermost in sight."""
    own = dict(_memberships(root))
    for version, top, mount in _mounts(root) or _USUAL:
        path = PurePosixPath(own.get(version, "/"))
        # A container may mount a part of the tree alone, and be told a path of the whole or, without "..", of none.
        visible = path.is_relative_to(top) and ".." not in path.parts
        inner = path.relative_to(top) if visible else PurePosixPath()
        yield from ((version, root / mount.lstrip("/") / one) for one in (inner, *inner.parents))


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """The path of this process in the tree of each version that limits memory."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield "cgroup2", path
        elif "memory" in controllers.split(","):
            yield "cgroup", path


def _mounts(root: Path) -> list[tuple[str, str, str]]:
    """Version, part of the tree and mount point of each tree that may limit memory."""
    found = []
    for line in _text(root / "proc/self/mountinfo").splitlines():
        mounted, _, kind = line.partition(" - ")
        top, mount = (re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), one) for one in mounted.split()[3:5])
        version, _, options = kind.split(maxsplit=2)
        if version == "cgroup2" or (version == "cgroup" and "memory" in options.split(",")):
            found.append((version, top, mount))
    return found


def _left(group: Path, files: _Files) -> int | None:
    """Bytes below a group's least limit; None where it has none."""
    stat = dict(line.partition(" ")[::2] for line in _text(group / "memory.stat").splitlines())
    told = [_number(text) for text in (*(_text(group / name) for name in files.limits), stat.get(files.inherited, ""))]
    limits = [limit for limit in told if limit is not None and limit < _NO_LIMIT]
    if not limits:
        return None
    return min(limits) - max(0, (_number(_text(group / files.used)) or 0) - (_number(stat.get(files.cache, "")) or 0))


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux begins with the memory of the process that started this one
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if psutil.MACOS else 1024)


def return_memory() -> None:
    """Give freed memory back to the system, where the C library can.

    glibc keeps what its threads freed for their next requests; without this the peaks of the steps would add up.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if psutil.LINUX else None
    if trim is not None:
        trim(0)


def resident_memory() -> int:
    """Resident memory of this process now, in bytes."""
    return int(psutil.Process().memory_info().rss)
