"""The memory that control groups leave to a run: of both versions, and the least along the path."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from specscale.runtime import memory
from specscale.runtime.memory import available_memory, left_by_groups

GB = 1 << 30
NONE_1 = 9223372036854771712  # the first version's word for no limit
V2 = "30 24 0:26 {top} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
V1 = "33 25 0:28 {top} {mount} rw,nosuid shared:9 master:2 - cgroup cgroup rw,memory"
CPU = "34 25 0:29 {top} {mount} rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
ROOT = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


class Machine:
    """The files of a machine's control groups.

    Parameters
    ----------
    root : the folder they are in
    groups : lines of /proc/self/cgroup
    mounts : lines of /proc/self/mountinfo
    """

    def __init__(self, root: Path, groups: list[str], mounts: list[str]) -> None:
        self.root = root
        (root / "proc" / "self").mkdir(parents=True)
        (root / "proc" / "self" / "cgroup").write_text("".join(line + "\n" for line in groups))
        (root / "proc" / "self" / "mountinfo").write_text("".join(line + "\n" for line in [ROOT, *mounts]))

    def group(self, folder: str, **files: object) -> None:
        """Write the files of one control group."""
        place = self.root / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (place / f"memory.{name}").write_text(f"{content}\n")

    def left(self) -> int | None:
        """What is left."""
        return left_by_groups(self.root)


def v2(mount: str = "/sys/fs/cgroup", top: str = "/") -> str:
    return V2.format(mount=mount, top=top)


def v1(mount: str = "/sys/fs/cgroup/memory", top: str = "/") -> str:
    return V1.format(mount=mount, top=top)


def test_a_container_of_the_second_version(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ["0::/"], [v2()])
    machine.group(
        "/sys/fs/cgroup", max=4 * GB, high="max", current=3 * GB, stat=f"anon {GB}\ninactive_file {2 * GB}\nslab 5"
    )
    assert machine.left() == 3 * GB


def test_a_container_that_sees_the_tree_of_its_host(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ["0::/"], [v2(top="/../..")])
    machine.group("/sys/fs/cgroup", max=4 * GB, current=GB)
    assert machine.left() == 3 * GB
    machine = Machine(tmp_path / "outside", ["0::/../other"], [v2()])
    machine.group("/sys/fs/cgroup", max=2 * GB, current=GB)
    assert machine.left() == GB


def test_a_container_of_the_first_version(tmp_path: Path) -> None:
    groups = ["11:cpu,cpuacct:/docker/abc", "9:memory:/docker/abc", "1:name=systemd:/docker/abc"]
    mounts = [CPU.format(mount="/sys/fs/cgroup/cpu,cpuacct", top="/docker/abc"), v1(top="/docker/abc")]
    machine = Machine(tmp_path, groups, mounts)
    machine.group(
        "/sys/fs/cgroup/memory",
        limit_in_bytes=8 * GB,
        usage_in_bytes=5 * GB,
        stat=f"cache 1\ninactive_file 7\nhierarchical_memory_limit {6 * GB}\ntotal_inactive_file {GB}",
    )
    assert machine.left() == 2 * GB  # the groups above it, which are not in sight, have less


def test_the_first_version_without_limits(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ["4:memory:/user"], [v1()])
    for folder in ("", "/user"):
        stat = f"hierarchical_memory_limit {NONE_1}\ntotal_inactive_file 0"
        machine.group(f"/sys/fs/cgroup/memory{folder}", limit_in_bytes=NONE_1, usage_in_bytes=GB, stat=stat)
    assert machine.left() is None


@pytest.mark.parametrize("tight", ["slurmstepd.scope", "slurmstepd.scope/job_7", "slurmstepd.scope/job_7/step_0/user"])
def test_the_least_of_a_job_its_steps_and_what_they_are_in(tmp_path: Path, tight: str) -> None:
    step = "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0"
    machine = Machine(tmp_path, [f"0::{step}"], [v2()])
    machine.group("/sys/fs/cgroup", stat="anon 5")  # the outermost has no files of limits
    parts = Path(step.lstrip("/")).parts
    for depth in range(1, len(parts) + 1):
        machine.group(f"/sys/fs/cgroup/{'/'.join(parts[:depth])}", max="max", high="max", current=GB)
    assert machine.left() is None
    # Another task of the job holds 5 GB.
    machine.group(f"/sys/fs/cgroup/system.slice/{tight}", max=16 * GB, current=6 * GB)
    machine.group("/sys/fs/cgroup/system.slice", max=20 * GB, current=6 * GB)
    assert machine.left() == 10 * GB


def test_a_slice_that_is_slowed_down_from_some_size_on(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ["0::/user.slice/user-7.slice/session-2.scope"], [v2()])
    machine.group("/sys/fs/cgroup/user.slice", max=40 * GB, high="max", current=4 * GB)
    machine.group("/sys/fs/cgroup/user.slice/user-7.slice", max=32 * GB, high=8 * GB, current=3 * GB)
    machine.group("/sys/fs/cgroup/user.slice/user-7.slice/session-2.scope", max="max", high="max", current=2 * GB)
    assert machine.left() == 5 * GB


def test_both_versions_at_once(tmp_path: Path) -> None:
    groups = ["8:memory:/slurm/uid_7/job_9/step_0", "1:name=systemd:/system.slice", "0::/system.slice/slurmd.service"]
    machine = Machine(tmp_path, groups, [v1(), v2("/sys/fs/cgroup/unified")])
    machine.group("/sys/fs/cgroup/unified/system.slice/slurmd.service")
    machine.group("/sys/fs/cgroup/memory/slurm/uid_7/job_9", limit_in_bytes=3 * GB, usage_in_bytes=GB)
    machine.group("/sys/fs/cgroup/memory/slurm/uid_7/job_9/step_0", limit_in_bytes=NONE_1, usage_in_bytes=GB)
    assert machine.left() == 2 * GB


def test_what_is_used_beyond_the_limit_leaves_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ["0::/"], [v2()])
    machine.group("/sys/fs/cgroup", max=GB, current=3 * GB)
    assert machine.left() == 0


def test_mount_points_with_odd_names(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ["0::/a b"], [v2("/mnt/control\\040groups")])
    machine.group("/mnt/control groups/a b", max=GB)
    assert machine.left() == GB


def test_what_cannot_be_read_limits_nothing(tmp_path: Path) -> None:
    assert left_by_groups(tmp_path) is None
    machine = Machine(tmp_path / "damaged", ["0::/job"], [v2()])
    machine.group("/sys/fs/cgroup/job", max="?", current="?", stat="\nx\n\xe9")
    (tmp_path / "damaged" / "sys/fs/cgroup/job/memory.high").mkdir()
    assert machine.left() is None
    # Without the list of mounts, they are where they usually are.
    machine.group("/sys/fs/cgroup/job", max=GB, current=0)
    (tmp_path / "damaged" / "proc/self/mountinfo").unlink()
    assert machine.left() == GB


def test_four_fifths_of_the_lesser(monkeypatch: pytest.MonkeyPatch) -> None:
    for left, taken in ((GB, GB), (None, None), (1 << 60, None)):
        monkeypatch.setattr(memory, "left_by_groups", lambda left=left: left)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": 2 * GB}))
        assert available_memory() == int(0.8 * (taken or 2 * GB))


@pytest.fixture
def limited() -> Iterator[Path]:
    """A control group of 300 MB around one without a limit."""
    for place, limit in (("/sys/fs/cgroup/memory", "limit_in_bytes"), ("/sys/fs/cgroup", "max")):
        outer = Path(place) / f"specscale-{secrets.token_hex(4)}"
        try:
            (outer / "inner").mkdir(parents=True)
        except OSError:
            continue
        try:
            (outer / f"memory.{limit}").write_text(str(300 << 20))
            yield outer / "inner"
            return
        except OSError:
            continue
        finally:
            (outer / "inner").rmdir()
            outer.rmdir()
    pytest.skip("control groups cannot be made here")


@pytest.mark.process
def test_a_real_one(limited: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()))\n"
        "from specscale.runtime.memory import available_memory, left_by_groups\n"
        "print(left_by_groups(), available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(limited)], capture_output=True, text=True, env=os.environ)
    left, available = map(int, done.stdout.split())
    assert 200 << 20 < left < 300 << 20
    assert available <= 0.8 * (300 << 20)
