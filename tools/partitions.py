# SPDX-License-Identifier: MIT OR Apache-2.0
"""[schedule.NAME] of system.toml: the windows that a CPU goes through for ever, each a partition and
a length; and `partition` of a cell's manifest. In the kernel a partition is a domain of its CPU
(docs/decisions/016); domain 0 is the partition "system".
"""

import re

import layout
from toml_fields import Field
from toml_source import nearest

SYSTEM = "system"  # where cells are that name no partition, and the supervisor
WINDOW = re.compile(r"([a-z][a-z0-9_-]*) +([0-9]{1,9})\Z")

SCHEDULE_FIELDS = {
    "cpu": Field("int", 0, low=0, high=layout.SYSTEM_CPUS_MAX - 1),
    "windows": Field("texts", high=layout.SYSTEM_CPU_WINDOWS_MAX),
}
CELL_FIELDS = {"partition": Field("name", SYSTEM)}


def _window(reader, path, text):
    """(partition, us), or None after noting why not."""
    match = WINDOW.match(text)
    if not match:
        return reader.add(path, f"'{text}' is no window",
                          'write "PARTITION MICROSECONDS", such as "control 4000"', text)
    length = int(match.group(2))
    if not layout.SYSTEM_WINDOW_MIN_US <= length <= layout.SYSTEM_PERIOD_MAX_US:
        return reader.add(path, f"a window of {length} us, outside {layout.SYSTEM_WINDOW_MIN_US} to "
                          f"{layout.SYSTEM_PERIOD_MAX_US}", "choose a length in that range", text)
    return match.group(1), length


def read(schedules, reader):
    """{cpu: [(partition, us)]} of the tables; what is wrong in one of them is noted."""
    out, names = {}, {}
    for name, one in schedules.items():
        if None in one.values():
            continue
        path = ("schedule", name, "windows")
        windows = [_window(reader, path, text) for text in one["windows"]]
        if None in windows:
            continue
        if not windows:
            reader.add(path, f"schedule '{name}' has no window", 'write windows = ["system 1000"]')
        elif one["cpu"] in out:
            reader.add(("schedule", name, "cpu"),
                       f"CPU {one['cpu']} has the schedule '{names[one['cpu']]}' already",
                       "write all its windows there, or name another CPU")
        elif sum(length for _, length in windows) > layout.SYSTEM_PERIOD_MAX_US:
            reader.add(path, f"the frame of schedule '{name}' is longer than "
                       f"{layout.SYSTEM_PERIOD_MAX_US} us", "shorten its windows")
        elif len({partition for partition, _ in windows} - {SYSTEM}) >= layout.SYSTEM_DOMAINS_MAX:
            reader.add(path, f"schedule '{name}' has more than {layout.SYSTEM_DOMAINS_MAX - 1} "
                       "partitions beside 'system'", "put cells together, or use another CPU")
        else:
            out[one["cpu"]] = windows
            names[one["cpu"]] = name
    return out


def _check_cell(cell, windows, problems):
    """The cell has windows, and with them the time of its budget."""
    share = [length for partition, length in windows if partition == cell.partition]
    frame = sum(length for _, length in windows)
    if not share and not windows:
        problems.add(cell.source, ("cell", "partition"),
                     f"'{cell.name}' is in the partition '{cell.partition}', and CPU {cell.cpu} has no"
                     " schedule", f"add a [schedule.NAME] with cpu = {cell.cpu}, or remove partition")
    elif not share:
        problems.add(cell.source, ("cell", "partition"),
                     f"'{cell.name}' never runs: the schedule of CPU {cell.cpu} has no window of"
                     f" '{cell.partition}'{nearest(cell.partition, [name for name, _ in windows])}",
                     f"add \"{cell.partition} 1000\" to its windows, or name another partition",
                     cell.partition)
    elif cell.budget_us and cell.budget_us * frame > sum(share) * cell.period_us:
        problems.add(cell.source, ("cell", "budget_us"),
                     f"'budget_us' is {cell.budget_us} of each {cell.period_us}, more than the windows"
                     f" of '{cell.partition}' give: {sum(share)} of each {frame}",
                     "lower budget_us or lengthen the windows")


def check(system, schedules, reader):
    """Everybody who has to run has a window, and each window somebody to run in it."""
    places = {cpu: name for name, one in schedules.items()
              for cpu in system.windows if one["cpu"] == cpu}
    for cell in system.cells:
        if None not in (cell.cpu, cell.partition, cell.budget_us, cell.period_us) and (
                cell.cpu in system.windows or cell.partition != SYSTEM):
            _check_cell(cell, system.windows.get(cell.cpu, []), reader.problems)
    for cpu, windows in system.windows.items():
        path = ("schedule", places[cpu], "windows")
        used = {cell.partition for cell in system.cells if cell.cpu == cpu} | {SYSTEM}
        for partition, length in windows:
            if partition not in used:
                reader.add(path, f"no cell on CPU {cpu} is in the partition '{partition}'"
                           f"{nearest(partition, used)}",
                           f"write partition = \"{partition}\" in a manifest, or \"system {length}\""
                           " here", f"{partition} {length}")
        if cpu == 0 and SYSTEM not in [partition for partition, _ in windows]:
            reader.add(path, "CPU 0 has no window of 'system', in which the supervisor runs",
                       'add "system 1000"')


def domain(system, cpu, partition):
    """The number that the kernel knows the partition by on that CPU."""
    if partition == SYSTEM:
        return 0
    names = dict.fromkeys(name for name, _ in system.windows[cpu] if name != SYSTEM)
    return list(names).index(partition) + 1


def pack(system):
    """All windows, CPU by CPU, as struct system_window."""
    return b"".join(
        layout.pack("system_window", cpu=cpu, domain=domain(system, cpu, partition),
                    length_us=length, reserved=0)
        for cpu, windows in sorted(system.windows.items())
        for partition, length in windows
    )
