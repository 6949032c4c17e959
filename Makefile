# SPDX-License-Identifier: MIT OR Apache-2.0
# The whole build. Out of tree under build/. `make help` lists the targets.
# A module is a folder; what goes into which program stands in the tables below.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:

CC := gcc
LD := ld
AR := ar
BUILD ?= build
PYTHON := /usr/bin/python3
# `make V=1` shows the whole commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

# ---- What goes into what --------------------------------------------------------------------

# Cells: every one also links RUNTIME_DIRS and lib/base.
RUNTIME_DIRS := runtime lib/config
CELLS := hello faulty
hello_DIRS := services/hello
faulty_DIRS := tests/cells/faulty
CELLS += reaper rogue dmarogue spinner windows workers
spinner_DIRS := tests/cells/spinner
windows_DIRS := tests/cells/windows
workers_DIRS := tests/cells/workers
reaper_DIRS := tests/cells/reaper
rogue_DIRS := tests/cells/rogue
dmarogue_DIRS := tests/cells/dmarogue
CELLS += tenants
tenants_DIRS := tests/cells/tenants drivers drivers/pci drivers/nvme lib/block
CELLS += drives
drives_DIRS := tests/cells/drives drivers drivers/pci drivers/nvme
NET_DRIVER_DIRS := drivers/net drivers/net/intel drivers/net/ring drivers/net/virtio drivers/pci lib/ring
NETWORK_DIRS := drivers/net/cell $(NET_DRIVER_DIRS) lib/net
CELLS += echo
echo_DIRS := apps/echo $(NETWORK_DIRS)
CELLS += accounts
accounts_DIRS := apps/accounts $(NETWORK_DIRS) lib/http lib/logport lib/block
CELLS += iperf3
iperf3_DIRS := apps/iperf3 apps/iperf3/core $(NETWORK_DIRS)
CELLS += vfrogue
vfrogue_DIRS := tests/cells/vfrogue $(NET_DRIVER_DIRS) lib/net
CELLS += nic
nic_DIRS := services/nic services/nic/server $(NET_DRIVER_DIRS) lib/net
CELLS += nicpf
nicpf_DIRS := services/nicpf drivers/net/intel drivers/pci lib/net
CELLS += storage logclient
storage_DIRS := services/storage services/storage/server drivers drivers/pci drivers/nvme lib/block lib/loglet lib/ring
logclient_DIRS := tests/cells/logclient lib/logport lib/ring
CELLS += pci
pci_DIRS := services/pci
CELLS += supervisor
supervisor_DIRS := services/supervisor lib/bundle lib/elf lib/system

CELLS += netbench
netbench_DIRS := bench/cells/net $(NET_DRIVER_DIRS) lib/net
CELLS += storagebench
storagebench_DIRS := bench/cells/storage drivers drivers/pci drivers/nvme lib/block lib/loglet

CELLS += kvstore
kvstore_DIRS := apps/kvstore apps/kvstore/core lib/heap lib/http $(NETWORK_DIRS) \
    drivers/nvme lib/block lib/loglet lib/logport

KERNEL_DIRS := kernel kernel/object kernel/boot kernel/arch/x86_64
# Part of the kernel that also runs on the host, against kernel/arch/host.
KERNEL_CORE_DIRS := kernel kernel/object kernel/arch/host

# Folders whose code is also built for the host, with their *_test.c and *_fake.c.
# One a line, sorted, so that two changes seldom meet.
HOST_DIRS := \
    drivers/net/cell \
    apps/iperf3/core \
    apps/kvstore/core \
    drivers \
    drivers/net \
    drivers/net/intel \
    drivers/net/ring \
    drivers/net/virtio \
    drivers/nvme \
    drivers/pci \
    kernel \
    kernel/arch/host \
    kernel/boot \
    kernel/object \
    lib/base \
    lib/block \
    lib/bundle \
    lib/config \
    lib/elf \
    lib/heap \
    lib/http \
    lib/loglet \
    lib/logport \
    lib/net \
    lib/ring \
    lib/system \
    services/nic/server \
    services/storage/server \
    services/pci \
    services/supervisor

# ---- Flags ----------------------------------------------------------------------------------

WARN := -Wall -Wextra -Werror -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes \
        -Wvla -Wundef
COMMON := -std=gnu11 -g $(WARN) -I. -Iinclude -fno-omit-frame-pointer -MMD -MP \
          -ffile-prefix-map=$(CURDIR)/=
FREESTANDING := -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables \
                -ffunction-sections -fdata-sections
# The kernel is built for size but for what its measured paths run through. It
# branches nowhere that the CPU would have to guess: no tables of jumps, and the calls
# through pointers that are left go through a RET (docs/decisions/011).
KERNEL_HOT := kernel/fastpath lib/base/bytes
# Entry code has saved the user's registers, so no function of the kernel saves any.
KERNEL_FLAGS := $(COMMON) -fomit-frame-pointer -falign-functions=1 -falign-jumps=1 -falign-loops=1 -falign-labels=1 \
                $(FREESTANDING) -mgeneral-regs-only -mno-red-zone -mcmodel=kernel \
                -fno-jump-tables -mindirect-branch=thunk -fcf-protection=none -DHALLOWS_KERNEL \
                -fira-region=mixed -mstringop-strategy=libcall -fno-tree-loop-distribute-patterns \
                -fcall-used-rbx -fcall-used-r12 -fcall-used-r13 -fcall-used-r14 -fcall-used-r15 \
                $(if $(CHECKED),-DHALLOWS_DEBUG)
# Cells have no frame pointers (the supervisor finds callers on a stack without), which saves a
# request 4 instructions in 100; putting neighbouring fields into vectors costs more than it saves.
CELL_FLAGS := $(COMMON) $(FREESTANDING) -O2 -fomit-frame-pointer -fno-tree-slp-vectorize -msse4.2 \
              -mno-red-zone -fcf-protection=none \
              $(if $(CHECKED),-DHALLOWS_DEBUG)
HOST_FLAGS := $(COMMON) -O1 -msse4.2 -DHALLOWS_HOST -DHALLOWS_DEBUG -D_GNU_SOURCE \
              -fsanitize=address,undefined -fno-sanitize-recover=all

# ---- Rules ----------------------------------------------------------------------------------

not_in_programs = %_test.c %_fuzz.c %_fake.c %_host.c %_bench.c
sources = $(filter-out $(not_in_programs),$(foreach d,$(1),$(wildcard $(d)/*.c))) \
          $(foreach d,$(1),$(wildcard $(d)/*.S))
objects = $(patsubst %,$(BUILD)/$(2)/%.o,$(call sources,$(1)))

.PHONY: all help host-tests kernel-test-image clean
all: $(BUILD)/kernel/hallows.elf $(CELLS:%=$(BUILD)/cells/%.elf) kernel-test-image

help:
	@echo "make all         the kernel and every cell, under $(BUILD)/"
	@echo "make host-tests  build and run every *_test.c under ASan and UBSan"
	@echo "make fuzz        build every *_fuzz.c with clang's libFuzzer"
	@echo "make clean       remove $(BUILD)/"
	@echo "variables: CHECKED=1 builds kernel and cells with assertions and invariant checks"

# A tree is built anew when its flags change: its objects depend on a file that holds them.
define compile_rules # $(1) name of the object tree, $(2) flags, $(3) what else decides them
ifneq ($$(strip $$(file <$(BUILD)/$(1)/flags)),$$(strip $(2) $(3)))
$$(shell mkdir -p $(BUILD)/$(1))$$(file >$(BUILD)/$(1)/flags,$(2) $(3))
endif
$(BUILD)/$(1)/%.c.o: %.c $(BUILD)/$(1)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$<)
	$$(Q)$$(CC) $(2) -c $$< -o $$@
$(BUILD)/$(1)/%.S.o: %.S $(BUILD)/$(1)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$<)
	$$(Q)$$(CC) $(2) -c $$< -o $$@
endef
# All of the kernel but what only its start needs is optimised as one (docs/decisions/023); a checked
# kernel is not, so that tools/mutants.py can exchange one file.
KERNEL_APART := $(patsubst %,$(BUILD)/kernel-obj/%.o,$(call sources,kernel/boot) kernel/start.c \
    kernel/arch/x86_64/start.c lib/base/bytes.c)
KERNEL_WHOLE := $(if $(CHECKED),,-flto=1)
$(KERNEL_APART): KERNEL_WHOLE :=
$(KERNEL_HOT:%=$(BUILD)/kernel-obj/%.c.o): KERNEL_OPTIMISE := -O2
KERNEL_OPTIMISE := -Os
$(eval $(call compile_rules,kernel-obj,$(KERNEL_FLAGS) $$(KERNEL_OPTIMISE) $$(KERNEL_WHOLE),$(KERNEL_HOT)))
$(eval $(call compile_rules,cell-obj,$(CELL_FLAGS)))
$(eval $(call compile_rules,whole-obj,$(CELL_FLAGS) -flto=1))
$(eval $(call compile_rules,host-obj,$(HOST_FLAGS)))
# These define the very functions that the compiler would call in their place.
$(BUILD)/kernel-obj/lib/base/bytes.c.o $(BUILD)/cell-obj/lib/base/bytes.c.o: \
    override CC += -fno-builtin -fno-tree-loop-distribute-patterns

# ---- Kernel ---------------------------------------------------------------------------------

# Three links. From `whole` the build learns which functions only the start runs, to set them apart.
# The functions' names for backtraces, and where addresses of the kernel's own stand, are taken from
# `first`, whose tables of them are empty, and embedded in the last. They lie behind the code, so that no function moves.
KERNEL_LD := kernel/arch/x86_64/kernel.ld
START_LD := $(BUILD)/kernel/start.ld kernel/arch/x86_64/start_only.ld
KERNEL_OBJECTS := $(filter-out %/symbols.S.o,$(call objects,$(KERNEL_DIRS) lib/base lib/bundle lib/elf,kernel-obj))
link_kernel = $(CC) $(filter-out -MMD -MP,$(KERNEL_FLAGS)) -O2 -flto=1 -flto-partition=one -nostdlib -static -no-pie \
    -Wl,--gc-sections,--build-id=none,-z,max-page-size=4096,-z,noexecstack -L $(1) -T $(KERNEL_LD)
link_start_apart = $(call link_kernel,$(BUILD)/kernel) -T kernel/arch/x86_64/start_only.ld

$(BUILD)/kernel/empty.symbols: tools/kernel_symbols.py
	@mkdir -p $(@D)
	$(Q)$(PYTHON) $< $@
$(BUILD)/kernel/hallows.symbols: tools/kernel_symbols.py tools/bundle.py $(BUILD)/kernel/first.elf
	$(Q)$(PYTHON) $< $(BUILD)/kernel/first.elf $@
$(BUILD)/kernel/empty.relocations: tools/kernel_relocations.py
	@mkdir -p $(@D)
	$(Q)$(PYTHON) $< $@
$(BUILD)/kernel/hallows.relocations: tools/kernel_relocations.py $(BUILD)/kernel/first.elf
	$(Q)$(PYTHON) $< $(BUILD)/kernel/first.elf $@
$(BUILD)/kernel/%.symbols.o: kernel/arch/x86_64/symbols.S $(BUILD)/kernel/%.symbols $(BUILD)/kernel/%.relocations
	$(Q)$(CC) $(KERNEL_FLAGS) -MF $@.d -DSYMBOL_FILE='"$(BUILD)/kernel/$*.symbols"' \
	    -DRELOCATION_FILE='"$(BUILD)/kernel/$*.relocations"' -c $< -o $@
$(BUILD)/kernel/whole.elf: $(KERNEL_LD) $(BUILD)/kernel/empty.symbols.o $(KERNEL_OBJECTS)
	@mkdir -p $(@D)/whole; : > $(@D)/whole/start.ld
	$(Q)$(call link_kernel,$(@D)/whole) -Wl,-Map=$@.map -o $@ $(filter %.o,$^)
$(BUILD)/kernel/start.ld: tools/kernel_start.py tools/kernel_code.py $(BUILD)/kernel/whole.elf
	$(Q)$(PYTHON) $< $(BUILD)/kernel/whole.elf $@
$(BUILD)/kernel/first.elf: $(KERNEL_LD) $(START_LD) $(BUILD)/kernel/empty.symbols.o $(KERNEL_OBJECTS)
	$(Q)$(link_start_apart) -Wl,--emit-relocs -o $@ $(filter %.o,$^)
$(BUILD)/kernel/hallows.elf: $(KERNEL_LD) $(START_LD) $(BUILD)/kernel/hallows.symbols.o $(KERNEL_OBJECTS)
	$(call say,LD,$@)
	$(Q)$(link_start_apart) -o $@ $(filter %.o,$^)

# ---- Cells ----------------------------------------------------------------------------------

define cell_rules
$(BUILD)/cells/$(1).elf: runtime/cell.ld $(call objects,$($(1)_DIRS) $(RUNTIME_DIRS) lib/base,cell-obj)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$(LD) -nostdlib -static --gc-sections -z max-page-size=4096 -T $$< -o $$@ $$(filter %.o,$$^)
endef

# Where one record's way to the drive crosses many short functions, the storage side of cells is
# optimised across its files (decision 051). The network's is not: its stages are counted by function.
WHOLE := kvstore storage storagebench
WHOLE_DIRS := apps/kvstore apps/kvstore/core services/storage services/storage/server bench/cells/storage \
    drivers/nvme lib/block lib/loglet
whole_objects = $(call objects,$(filter $(WHOLE_DIRS),$($(1)_DIRS)),whole-obj) \
    $(call objects,$(filter-out $(WHOLE_DIRS),$($(1)_DIRS)) $(RUNTIME_DIRS) lib/base,cell-obj)
define whole_rules
$(BUILD)/cells/$(1).elf: runtime/cell.ld $(call whole_objects,$(1))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CELL_FLAGS) -flto=1 -flto-partition=one -nostdlib -static -no-pie -Wl,--gc-sections \
	    -Wl,-z,max-page-size=4096 -Wl,--build-id=none -T $$< -o $$@ $$(filter %.o,$$^)
endef
$(foreach c,$(WHOLE),$(eval $(call whole_rules,$(c))))
$(foreach c,$(filter-out $(WHOLE),$(CELLS)),$(eval $(call cell_rules,$(c))))

# Kernel tests: an initial cell of their own, alone in its bundle.
$(BUILD)/tests/kernel/semantics.elf: runtime/cell.ld $(call objects,tests/kernel $(RUNTIME_DIRS) lib/base,cell-obj)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(LD) -nostdlib -static --gc-sections -z max-page-size=4096 -T $< -o $@ $(filter %.o,$^)
$(BUILD)/tests/kernel/semantics.bundle: tools/initial_bundle.py $(BUILD)/tests/kernel/semantics.elf
	$(Q)$(PYTHON) $^ $@
kernel-test-image: $(BUILD)/tests/kernel/semantics.bundle

# ---- Host tests -----------------------------------------------------------------------------

# The host takes its memory functions from the C library, which the sanitizers watch.
HOST_SOURCES := $(filter-out lib/base/bytes.c, \
    $(foreach d,$(HOST_DIRS),$(filter-out %_test.c %_fuzz.c %_host.c %_bench.c,$(wildcard $(d)/*.c))))
HOST_TESTS := $(patsubst %.c,$(BUILD)/host/%,$(foreach d,$(HOST_DIRS),$(wildcard $(d)/*_test.c)))

$(BUILD)/host/libhost.a: $(HOST_SOURCES:%=$(BUILD)/host-obj/%.o)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) qcs $@ $^
$(BUILD)/host/%_test: $(BUILD)/host-obj/%_test.c.o $(BUILD)/host-obj/tests/check.c.o $(BUILD)/host/libhost.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOST_FLAGS) $^ -lm -o $@

# libFuzzer, with clang: one program for each *_fuzz.c. `./hallows fuzz` runs them.
FUZZ_FLAGS := -std=gnu11 -g -O1 -msse4.2 -I. -Iinclude -MMD -MP -DHALLOWS_HOST -DHALLOWS_DEBUG -D_GNU_SOURCE \
              -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_PROGRAMS := $(patsubst %.c,$(BUILD)/fuzz/%,$(foreach d,$(HOST_DIRS),$(wildcard $(d)/*_fuzz.c)))
$(BUILD)/fuzz-obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,CLANG,$<)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c $< -o $@
$(BUILD)/fuzz/libhost.a: $(HOST_SOURCES:%=$(BUILD)/fuzz-obj/%.o)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) qcs $@ $^
$(BUILD)/fuzz/%_fuzz: $(BUILD)/fuzz-obj/%_fuzz.c.o $(BUILD)/fuzz-obj/tests/fuzz.c.o $(BUILD)/fuzz/libhost.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -lm -o $@
.PHONY: fuzz
fuzz: $(FUZZ_PROGRAMS)

# The system-call fuzzer for long runs: optimised, without sanitizers (kernel/fuzz_test.c).
FUZZ_LONG_DIRS := kernel kernel/object kernel/boot kernel/arch/host lib/base lib/elf lib/bundle
FUZZ_LONG_FLAGS := $(COMMON) -O2 -msse4.2 -DHALLOWS_HOST -DHALLOWS_DEBUG -D_GNU_SOURCE
$(eval $(call compile_rules,fuzz-long-obj,$(FUZZ_LONG_FLAGS)))
FUZZ_LONG_SOURCES := kernel/fuzz_test.c tests/check.c $(filter $(addsuffix /%,$(FUZZ_LONG_DIRS)), \
    $(foreach d,$(FUZZ_LONG_DIRS),$(filter $(wildcard $(d)/*.c),$(HOST_SOURCES))))
.PHONY: fuzz-long
fuzz-long: $(BUILD)/host/kernel/fuzz_long
$(BUILD)/host/kernel/fuzz_long: $(FUZZ_LONG_SOURCES:%=$(BUILD)/fuzz-long-obj/%.o)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(FUZZ_LONG_FLAGS) $^ -o $@

# The kernel's unit tests in one program, built as fast as the fuzzer (tools/mutants.py).
KERNEL_UNITS_SOURCES := $(filter-out kernel/fuzz_test.c,$(FUZZ_LONG_SOURCES) $(wildcard kernel/*_test.c kernel/*/*_test.c))
.PHONY: kernel-units
kernel-units: $(BUILD)/host/kernel/units
$(BUILD)/host/kernel/units: $(KERNEL_UNITS_SOURCES:%=$(BUILD)/fuzz-long-obj/%.o)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(FUZZ_LONG_FLAGS) $^ -o $@

# Unit tests and fuzzer with clang's counters, without assertions, which would be branches (tools/kernel_coverage.py).
COVERAGE_CC ?= clang
COVERAGE_ALL = -std=gnu11 -g -O1 -w -I. -Iinclude -MMD -MP -msse4.2 -DHALLOWS_HOST -D_GNU_SOURCE \
               -fprofile-instr-generate -fcoverage-mapping $(COVERAGE_FLAGS)
COVERAGE_TREE := $(BUILD)/coverage-obj/$(notdir $(COVERAGE_CC))
$(COVERAGE_TREE)/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,CLANG,$<)
	$(Q)$(COVERAGE_CC) $(COVERAGE_ALL) -c $< -o $@
.PHONY: kernel-coverage
kernel-coverage: $(COVERAGE_TREE)/units
$(COVERAGE_TREE)/units: $(KERNEL_UNITS_SOURCES:%=$(COVERAGE_TREE)/%.o) $(COVERAGE_TREE)/kernel/fuzz_test.c.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(COVERAGE_CC) $(COVERAGE_ALL) $^ -o $@

# The key-value server's core as a Linux program (apps/kvstore/kvstore_host.c).
.PHONY: kvstore-host
kvstore-host: $(BUILD)/host/kvstore
$(BUILD)/host/kvstore: $(BUILD)/host-obj/apps/kvstore/kvstore_host.c.o $(BUILD)/host/libhost.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOST_FLAGS) $^ -o $@

# The stack on Linux over a tap device (lib/net/tap_host.c says how).
$(BUILD)/host/lib/net/tap_host: $(BUILD)/host-obj/lib/net/tap_host.c.o $(BUILD)/host/libhost.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOST_FLAGS) $^ -o $@

# The stack as packetdrill loads it (tests/packetdrill/drill_host.h), undefined behaviour trapped.
$(eval $(call compile_rules,drill-obj,$(COMMON) -O1 -msse4.2 -DHALLOWS_HOST -DHALLOWS_DEBUG -D_GNU_SOURCE -pthread \
    -fPIC -fvisibility=hidden -fsanitize=undefined -fsanitize-undefined-trap-on-error))
DRILL_SOURCES := $(wildcard tests/packetdrill/*_host.c) lib/net/sim_fake.c lib/net/wire_fake.c lib/base/status.c \
    $(filter-out $(not_in_programs),$(wildcard lib/net/*.c))
$(BUILD)/tests/libdrill.so: $(DRILL_SOURCES:%=$(BUILD)/drill-obj/%.o)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOST_TOOL_FLAGS) -shared $^ -o $@

# One target a program, so that -j runs them side by side; -k runs the rest after a failure.
HOST_RUNS := $(HOST_TESTS:%=run-%)
.PHONY: $(HOST_RUNS)
host-tests: $(HOST_RUNS)
$(HOST_RUNS): run-%: %
	@out=$$($< 2>&1); status=$$?; verdict=$$(echo "$$out" | tail -n 1); \
	    [ $$status -eq 0 ] || verdict=FAILED; \
	    printf '%-52s %s\n' "$(<:$(BUILD)/host/%=%)" "$$verdict"; \
	    [ $$status -eq 0 ] || { echo "$$out"; exit 1; }

# ---- Benchmarks: host side ------------------------------------------------------------------

HOST_TOOL_FLAGS := $(COMMON) -O2 -msse4.2 -DHALLOWS_HOST -D_GNU_SOURCE -pthread
# Left unresolved on purpose: QEMU provides the plugin interface when it loads the object.
$(BUILD)/bench/%.so: bench/plugin/%_host.c
	@mkdir -p $(@D)
	$(call say,PLUGIN,$@)
	$(Q)$(CC) $(HOST_TOOL_FLAGS) -shared -fPIC -fvisibility=hidden $< -o $@

# Host programs run the project's own libraries without sanitizers.
$(eval $(call compile_rules,tool-obj,$(HOST_TOOL_FLAGS)))
LOADGEN_SOURCES := $(wildcard bench/load/*_host.c) lib/base/status.c \
    $(filter-out $(not_in_programs),$(wildcard lib/net/*.c))
$(BUILD)/bench/loadgen: $(LOADGEN_SOURCES:%=$(BUILD)/tool-obj/%.o)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOST_TOOL_FLAGS) $^ -o $@

# Replays a recorded run of a drive (lib/loglet/cutlog_host.c). Without sanitizers: it has much to do.
CUTLOG_SOURCES := lib/loglet/cutlog_host.c lib/loglet/rig_fake.c lib/block/account.c lib/block/block_fake.c \
    lib/block/media_fake.c lib/block/share.c \
    lib/base/status.c lib/base/crc32c.c lib/base/format.c \
    $(filter-out $(not_in_programs),$(wildcard lib/loglet/*.c))
$(BUILD)/tests/cutlog: $(CUTLOG_SOURCES:%=$(BUILD)/tool-obj/%.o)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOST_TOOL_FLAGS) $^ -o $@

# What runs in the Linux guest that the benchmarks compare with: its first process, echo servers.
$(BUILD)/bench/linux/%: bench/linux/%_host.c
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOST_TOOL_FLAGS) -static $< -o $@

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
