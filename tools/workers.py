# SPDX-License-Identifier: MIT OR Apache-2.0
"""`workers` of a cell's manifest: the CPUs of its further threads (docs/decisions/039)."""

import layout
import partitions
from toml_fields import Field

CELL_FIELDS = {"workers": Field("ints", [], low=0, high=layout.SYSTEM_CPUS_MAX - 1)}


def _check_cpus(cell, add):
    cpus = [cell.cpu]
    for cpu in cell.workers:
        if cpu in cpus:
            add("workers", f"'{cell.name}' has two threads on CPU {cpu}",
                "name each CPU once, and not that of 'cpu'")
            return
        cpus.append(cpu)
    if len(cell.workers) > layout.CELL_WORKERS_MAX:
        add("workers", f"{len(cell.workers)} workers, more than {layout.CELL_WORKERS_MAX}",
            "use fewer")


def _check_time(cell, windows, add):
    if cell.workers and cell.budget_us:
        add("budget_us", f"'{cell.name}' has a budget and workers, who would have to share it",
            "remove budget_us or workers")
    if cell.workers and cell.partition != partitions.SYSTEM:
        add("partition", f"'{cell.name}' has workers, which run outside the partition"
            f" '{cell.partition}'", "remove partition or workers")
    for cpu in cell.workers:
        if cpu in windows and partitions.SYSTEM not in [name for name, _ in windows[cpu]]:
            add("workers", f"the schedule of CPU {cpu} has no window of '{partitions.SYSTEM}', in"
                " which workers run", 'add "system 1000" to its windows, or name another CPU')


def check(system, problems):
    """Each thread has a CPU of its own and time on it."""
    for cell in system.cells:
        if None in (cell.workers, cell.cpu, cell.budget_us, cell.partition):
            continue

        def add(key, what, fix, cell=cell):
            problems.add(cell.source, ("cell", key), what, fix)

        _check_cpus(cell, add)
        _check_time(cell, system.windows, add)


def packed(cell):
    """`worker_count` and `worker_cpus` of struct system_cell."""
    spare = [0] * (layout.CELL_WORKERS_MAX - len(cell.workers))
    return {"worker_count": len(cell.workers), "worker_cpus": list(cell.workers) + spare}
