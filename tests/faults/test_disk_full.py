"""A small disk fills up: ingest stops before PostgreSQL does, and what was acknowledged is there when there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.checker import Fleet, wait_until_green
from tests.product import Product, call, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
MIB = 2**20


@pytest.fixture
def small_disk() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = Path(f"/dev/shm/waybill-faults-{os.getpid()}")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500m,mode=0755", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("this machine lets nobody mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def fill(ballast: Path, *, until_free: int) -> None:
    """Write until so many bytes are free on the ballast's disk, or none at all."""
    with ballast.open("ab") as file:
        while (free := shutil.disk_usage(ballast.parent).free) > until_free:
            try:
                file.write(b"\0" * min(MIB, free - until_free))
                file.flush()
            except OSError:
                return


def stands_still(fleet: Fleet, ballast: Path) -> bool:
    """Hold the disk at 8 %, below the reserve, for three seconds, and say if nothing was acknowledged in them.

    Each web process notices by itself, within two seconds, in which two agents fill 30 MB and PostgreSQL a file of WAL.
    """
    stood = fleet.acknowledged()
    for _ in range(30):
        fill(ballast, until_free=120 * MIB)
        time.sleep(0.1)
    return fleet.acknowledged() == stood


def test_a_full_disk_is_met_with_503_before_postgresql_panics_and_all_that_was_acknowledged_is_there(small_disk: Path):
    """Row 16: data, WAL and temporary files on a disk of 1,500 MB: under the reserve 503, quite full, and with room again."""
    product = Product.prepared("small-disk", data=small_disk / "data", WAYBILL_DISK_RESERVE_PERCENT="10").start()
    try:
        assert (product.data / "postgres").is_dir(), "PostgreSQL's data does not lie on the small disk"
        wait_until_green(product)
        fleet, ballast = Fleet(product), small_disk / "ballast"
        with fleet.sending():
            fleet.wait_for_acknowledged(5)
            wait_until(lambda: stands_still(fleet, ballast), seconds=30, what="nothing being taken below the reserve")
            assert fleet.statuses()[503] > 10
            assert call("GET", product.base + "/api/v1/flows", key=product.api_key())[0] == 200  # reading goes on
            panics = postgres_log(product).count("PANIC")

            fill(ballast, until_free=0)
            time.sleep(3)
            ballast.unlink()

            fleet.wait_for_acknowledged(5)
        fleet.check()
        assert panics == 0
    finally:
        sys.stdout.write(postgres_log(product)[-4000:])  # shown when the test fails
        product.stop()


def postgres_log(product: Product) -> str:
    return (product.data / "postgres.log").read_text(errors="replace")
