# SPDX-License-Identifier: MIT OR Apache-2.0
"""GDB commands for a stopped Hallows kernel: `hallows` lists them. Loaded by `./hallows run --gdb`,
or by hand:

    gdb build/kernel/hallows.elf -x tools/gdb/hallows.py -ex "target remote :1234"

They read the kernel's memory only. Objects are named by granule number, as the kernel names them
(docs/decisions/002). A cell is an address space with the threads in it.
"""

import struct
from itertools import product

import gdb

PHYSICAL_WINDOW = 0xFFFF800000000000  # kernel/arch/x86_64/layout.h
LARGE = 1 << 7
KERNEL_VIRTUAL = 0xFFFFFFFF80000000
GRANULE_BYTES = 64
PAGE_BYTES = 4096
GRANULES_PER_PAGE = PAGE_BYTES // GRANULE_BYTES
SLOTS_SHOWN = 65536
QUEUE_MAX = 100_000  # a list that is longer goes round
ADDRESS_MASK = 0x000FFFFFFFFFF000


def kernel():
    """The kernel's whole state."""
    return gdb.parse_and_eval("kernel_state")


def enum_name(kind, value, prefix):
    """The name of an enum's value, without the part that all have."""
    for item in gdb.lookup_type(f"enum {kind}").fields():
        if item.enumval == value and item.name.startswith(prefix):
            return item.name.removeprefix(prefix).lower()
    return str(value)


def enum_value(name):
    """An enum's constant."""
    return int(gdb.parse_and_eval(name))


def read(physical, count):
    """Memory at a physical address."""
    return bytes(gdb.selected_inferior().read_memory(PHYSICAL_WINDOW + physical, count))


def at(kind, granule):
    """The object `struct kind` at a granule."""
    pointer = gdb.Value(PHYSICAL_WINDOW + int(granule) * GRANULE_BYTES)
    return pointer.cast(gdb.lookup_type(f"struct {kind}").pointer()).dereference()


def index(value):
    """The number in a typed index."""
    return int(value["n"])


def pages():
    """(page number, kind, owner) of every page that holds objects or tables."""
    k = kernel()
    size = gdb.lookup_type("struct page").sizeof
    owner = next(f.bitpos // 8 for f in gdb.lookup_type("struct page").fields()
                 if f.name == "owner")
    data = bytes(gdb.selected_inferior().read_memory(int(k["pages"]), int(k["page_count"]) * size))
    for number in range(int(k["page_count"])):
        kind = data[number * size]
        if kind:
            yield number, kind, struct.unpack_from("<I", data, number * size + owner)[0]


def objects(name, kind):
    """(granule, object) of every living object of a type: struct `name`, OBJECT_`kind`."""
    wanted = enum_value("PAGE_OBJECT") + enum_value(f"OBJECT_{kind}")
    step = gdb.lookup_type(f"struct {name}").sizeof // GRANULE_BYTES
    for page, found, _ in pages():
        if found != wanted:
            continue
        first = page * GRANULES_PER_PAGE
        for granule in range(first, first + GRANULES_PER_PAGE, step):
            item = at(name, granule)
            if index(item["original"]):
                yield granule, item


def tables():
    """(granule, table) of every capability table; a table's pages belong to it."""
    wanted = enum_value("PAGE_OBJECT") + enum_value("OBJECT_TABLE")
    for granule in sorted({owner for _, kind, owner in pages() if kind == wanted}):
        yield granule, at("table", granule)


def rights(value):
    """Rights as letters: read, write, execute, send, receive, grant, manage, dma."""
    return "".join(letter if value >> bit & 1 else "-" for bit, letter in enumerate("rwxscgmd"))


def follow(head, kind, link):
    """The granules of a list from the index `head` on."""
    out, now = [], index(head)
    while now and len(out) < QUEUE_MAX:
        out.append(now)
        now = index(at(kind, now)[link])
    return out


def table_entries(table):
    """(number, entry) of what is present in a page table."""
    entries = struct.unpack("<512Q", read(table & ADDRESS_MASK, PAGE_BYTES))
    return [(number, entry) for number, entry in enumerate(entries) if entry & 1]


def image():
    """(first, end, rights) of each stretch of the kernel's image that the CPU's page tables show."""
    top = dict(table_entries(int(gdb.parse_and_eval("$cr3"))))
    directories = dict(table_entries(top[KERNEL_VIRTUAL >> 39 & 511]))
    out = []
    for window, directory in table_entries(directories[KERNEL_VIRTUAL >> 30 & 511]):
        for number, entry in table_entries(directory) if not directory & LARGE else ():
            first = KERNEL_VIRTUAL + (window << 21) + number * PAGE_BYTES
            what = f"r{'w' if entry & 2 else '-'}{'-' if entry >> 63 else 'x'}"
            if out and out[-1][1:] == [first, what]:
                out[-1][1] += PAGE_BYTES
            else:
                out.append([first, first + PAGE_BYTES, what])
    return out


def symbols_follow(_=None):
    """Gives the kernel's symbols the addresses where this run has its image (slide.h)."""
    file = gdb.current_progspace().filename
    try:
        shown = image() if int(gdb.parse_and_eval("$cr3")) else []
        start, end = (int(gdb.parse_and_eval(f"(long)&{name}")) % (1 << 64)
                      for name in ("text_start", "text_end"))
    except (gdb.error, KeyError):
        return  # there is no kernel yet, or no machine
    # In user mode isolated page tables show the first pages only.
    text = [first for first, last, what in shown if last - first == end - start and "x" in what]
    text = text or [first for first, _, what in shown if "x" in what]
    if file and text and text[0] != start:
        Slide.now += text[0] - start
        gdb.execute(f"symbol-file -o {Slide.now:#x} {file}", to_string=True)


class Slide:
    """How much higher than linked the symbols are."""

    now = 0


def thread_line(granule, thread):
    """One thread."""
    state = enum_name("thread_state", int(thread["state"]), "THREAD_")
    waits = int(thread["blocked_on"])
    return (f"thread {granule:x}  {state}{f' on {waits:x}' if waits else ''}"
            f"  priority {int(thread['priority'])}  ip {int(thread['registers']['ip']):x}"
            f"  sp {int(thread['registers']['sp']):x}  table {index(thread['table']):x}"
            f"  aspace {index(thread['aspace']):x}")


# ---- Commands -----------------------------------------------------------------------------------


def show_threads(_):
    """threads: every thread, its state and what it waits for"""
    for granule, thread in objects("thread", "THREAD"):
        print(thread_line(granule, thread))


def show_cells(_):
    """cells: address spaces, their tables of capabilities and their threads"""
    cells = {}
    for granule, thread in objects("thread", "THREAD"):
        cells.setdefault(index(thread["aspace"]), []).append((granule, thread))
    for aspace, threads in sorted(cells.items()):
        names = sorted({index(thread["table"]) for _, thread in threads})
        print(f"cell aspace {aspace:x}  tables {' '.join(f'{name:x}' for name in names)}")
        for granule, thread in threads:
            print("  " + thread_line(granule, thread))


def show_caps(arguments):
    """caps [TABLE]: what the slots of a capability table hold; without one, how full each is"""
    for granule, table in tables():
        if arguments and granule != int(arguments[0], 16):
            continue
        used = 0
        for number in range(1, min(int(table["slots"]), SLOTS_SHOWN)):
            slot = at("slot", granule + number)
            if int(slot["type"]) == 0:
                continue
            used += 1
            if arguments:
                kind = enum_name("object_type", int(slot["type"]), "OBJECT_")
                print(f"{number:5}  {kind:14} {rights(int(slot['rights']))}"
                      f"  object {int(slot['object']):x}  badge {int(slot['badge']):x}"
                      f"  depth {int(slot['depth'])}{'  original' if int(slot['original']) else ''}")
        print(f"table {granule:x}  {used} of {int(table['slots']) - 1} slots used")


def show_queues(_):
    """queues: who is ready on each CPU, who waits at endpoints and notifications"""
    k = kernel()
    for cpu in range(int(k["cpu_count"])):
        state = k["cpus"][cpu]
        print(f"cpu {cpu}  current {index(state['current']):x}")
        for domain, priority in product(range(state["ready"].type.range()[1] + 1), range(255, -1, -1)):
            if not int(state["ready_used"][domain][priority // 64]) >> priority % 64 & 1:
                continue
            queue = follow(state["ready"][domain][priority]["head"], "thread", "next")
            if queue:
                names = " ".join(f"{n:x}" for n in queue)
                print(f"  domain {domain} priority {priority}: {names}")
    for granule, endpoint in objects("endpoint", "ENDPOINT"):
        queue = follow(endpoint["head"], "thread", "next")
        if queue:
            state = enum_name("thread_state", int(at("thread", queue[0])["state"]), "THREAD_")
            print(f"endpoint {granule:x}  {state}: {' '.join(f'{n:x}' for n in queue)}")
    for granule, item in objects("notification", "NOTIFICATION"):
        who = index(item["waiter"]) or index(item["bound"])
        if who:
            print(f"notification {granule:x}  word {int(item['word']):x}  thread {who:x}"
                  f"{'' if index(item['waiter']) else ' (bound)'}")


def show_walk(arguments):
    """walk SPACE ADDRESS: the page-table entries of an address in an address or I/O space"""
    granule, address = (int(text, 16) for text in arguments)
    kinds = {number * GRANULES_PER_PAGE: kind for number, kind, _ in pages()}
    page = granule - granule % GRANULES_PER_PAGE
    io = kinds.get(page) == enum_value("PAGE_OBJECT") + enum_value("OBJECT_IOSPACE")
    table = int(at("iospace" if io else "aspace", granule)["paging"]["physical"])
    for level in (3, 2, 1, 0):
        number = address >> (12 + 9 * level) & 511
        entry = struct.unpack("<Q", read(table + 8 * number, 8))[0]
        print(f"level {level}  table {table:x}  entry {number}: {entry:016x}")
        if not entry & 1:
            print("nothing is there")
            return
        table = entry & ADDRESS_MASK
    print(f"physical {table | address & (PAGE_BYTES - 1):x}")


def show_image(_):
    """image: what of the kernel's image is mapped, with its rights"""
    for first, end, what in image():
        print(f"{first:x}..{end:x}  {what}  {end - first} bytes")


def show_io(_):
    """io: I/O spaces, the functions in them and their faults"""
    for granule, space in objects("iospace", "IOSPACE"):
        used = int(space["functions_used"])
        names = [int(space["functions"][n]) for n in range(16) if used >> n & 1]
        text = " ".join(f"{n >> 8:02x}:{n >> 3 & 31:02x}.{n & 7}" for n in names)
        print(f"iospace {granule:x}  domain {int(space['domain'])}  functions {text or 'none'}"
              f"  fault {int(space['fault']):x} at {int(space['fault_address']):x}")


def show_trace(arguments):
    """trace [CPU]: the events of a CPU's trace ring, oldest first"""
    ring = kernel()["cpus"][int(arguments[0]) if arguments else 0]["trace"]
    count, kept = int(ring["count"]), ring["event"].type.range()[1] + 1
    for number in range(max(0, count - kept), count):
        event = ring["event"][number % kept]
        head, what, value = (int(event[name]) for name in ("head", "what", "value"))
        kind = enum_name("trace_kind", head & 0xFFFFFFFF, "TRACE_")
        if kind == "call":
            what = enum_name("syscall_number", what, "CALL_")
            text = f"{what} = {value - (1 << 64) if value >> 63 else value}"
        else:
            text = f"{what:x} {value:x}"
        print(f"{number:8} {int(event['time_ns']) / 1000:14.3f} us  thread {head >> 32:x}"
              f"  {kind} {text}")
    print(f"{count} events; {'on' if int(ring['on']) else 'off'}")


COMMANDS = (show_cells, show_threads, show_caps, show_queues, show_walk, show_image, show_io,
            show_trace)


class Hallows(gdb.Command):
    """hallows COMMAND: looks at a stopped Hallows kernel; without a command, lists them."""

    def __init__(self):
        super().__init__("hallows", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        """Runs one command."""
        words = gdb.string_to_argv(argument)
        symbols_follow()
        for command in COMMANDS:
            if words and command.__name__ == f"show_{words[0]}":
                try:
                    command(words[1:])
                except ValueError as error:
                    raise gdb.GdbError(f"usage: hallows {command.__doc__}") from error
                return
        print("\n".join("hallows " + command.__doc__ for command in COMMANDS))


Hallows()
gdb.events.stop.connect(symbols_follow)
gdb.events.new_thread.connect(symbols_follow)
