# The one door: everything that can be done here is a goal of this file. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:
SHELL := /bin/sh

APP     ?= demo
QEMU    ?= qemu-system-x86_64
# What is compiled into images; LOG chooses from it when they run.
DEFMT_LOG ?= debug
export DEFMT_LOG

ifneq ($(V),1)
  Q := @
  CARGO_QUIET := --quiet
endif

TRIPLE := x86_64-unknown-linux-gnu
BUILT  := target/$(TRIPLE)
RUNNER := $(BUILT)/debug/hv-run
IMAGES := build/images
TESTED := build/tests/images
say = echo "libhv: $1" >&2

.PHONY: help
help:
	@echo 'make run                the demo guest on this terminal'
	@echo 'make run APP=linux KERNEL=f [INITRD=f] [CMDLINE=s] [MEM=MiB] [DISK=f] [NET=user]'
	@echo '                        that kernel; DISK="f g" for several disks'
	@echo 'make test [UPDATE=1]    all tests; UPDATE=1 rewrites the golden logs'
	@echo 'make attack             the attack suite: what hostile guests try, and what comes of it'
	@echo 'make bench [UPDATE=1]   counts instructions of each operation; fails when one got worse than the baseline'
	@echo 'make bench-linux KERNEL=bzImage [INITRD=f] [RUNS=3]'
	@echo '                        what a process of that kernel sees, bare and hosted, in instructions and in time'
	@echo 'make profile [BENCH=processes] or KERNEL=f [INITRD=f] [CMDLINE=s] [MEM=MiB]'
	@echo '                        a flame graph of where the exits of that guest come from, and what they cost'
	@echo 'make test-bochs         the micro guests and the attacks on another processor: Bochs'
	@echo 'make conformance        the LG matrix: what the tests show about each statement of the ABI'
	@echo 'make fuzz [TARGET=name] [SECONDS=60]'
	@echo '                        fuzzes all targets, or one, for so long each; needs a nightly compiler'
	@echo 'make coverage           how many lines of libhv/core its own tests run'
	@echo 'make mutants [SHARD=k/n]'
	@echo '                        mistakes put into the shadow and the descriptors: whether a test finds each'
	@echo 'make check              format, lints, documents, licences'
	@echo 'make image [ISO=1]      prints the path of a bootable ELF file, or of a GRUB ISO'
	@echo 'make image APP=linux KERNEL=f [INITRD=f] [CMDLINE=s] [MEM=MiB] [RAM_DISK=f]'
	@echo '                        one with that kernel and these words inside'
	@echo 'make gdb                the host under gdb, stopped before its first instruction'
	@echo 'make tour               the guided tour through the sources'
	@echo 'make clean              removes what was built'
	@echo
	@echo 'APP=demo|linux          the application          MODE=shared|isolated    what the guest runs beside'
	@echo 'ACCEL=tcg|kvm           who executes             DETERMINISTIC=1         time counts instructions'
	@echo 'QEMU=program            which QEMU               MEM=MiB                 guest RAM'
	@echo 'GENERATION=word         the guest'\''s ABI: auto g1 g2 g3 g4 g5 or a Linux version'
	@echo 'RAM_DISK="f ..."         disks in memory; these files are what they hold at first'
	@echo 'SMP=n                   processors               LOG=level               off error warn info debug trace'
	@echo 'RESTART=no              end with 4 instead       RNG=no                  no virtio-rng device'
	@echo 'V=1                     show commands'
	@echo
	@echo 'Exit status of make run: 0 powered off, 3 killed, 4 asks for restart, 5 not started, 1 else.'

# ---- what the machine has to have ------------------------------------------------------------

NEED_QEMU := $(QEMU):qemu-system-x86
NEED_ISO  := grub-mkrescue:grub-common /usr/lib/grub/i386-pc/moddep.lst:grub-pc-bin xorriso:xorriso mformat:mtools

NEED_BOCHS := bochs:bochs /usr/share/bochs/BIOS-bochs-latest:bochsbios /usr/share/vgabios/vgabios.bin:vgabios \
	$(if $(wildcard /usr/lib/*/bochs/plugins/libbx_term_gui.so),,/nowhere/libbx_term_gui.so:bochs-term)

.PHONY: need-qemu need-iso need-bochs need-gdb
need-qemu: ; @tests/doors/need.sh $(NEED_QEMU)
need-iso:  ; @tests/doors/need.sh $(NEED_ISO)
need-bochs: ; @tests/doors/need.sh $(NEED_BOCHS)
need-gdb:  ; @tests/doors/need.sh gdb:gdb

# ---- guests ----------------------------------------------------------------------------------

# The guest's processor may have no SSE, and interrupt handlers save no such registers.
GUEST_CC := gcc -m32 -march=i686 -O2 -g -Wall -Wextra -Werror -ffreestanding -fno-pic -fno-pie \
	-mno-sse -mno-mmx -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
GUEST_LD := -nostdlib -static -no-pie -Wl,-m,elf_i386,-z,noexecstack,--build-id=none

GUESTS := $(patsubst apps/guests/%/,build/guests/%.elf,$(wildcard apps/guests/*/))
# Every micro guest is built for every world, as NAME.WORD.elf, and as NAME.elf for the newest generation with
# two-level tables. WORD is what generation= is told; with PAE, .pae stands behind it or alone. VINTAGE_GUESTS
# show what differs within a generation.
GENERATIONS := g1 g2 g3 g4
PAE_WORDS := g3.pae g4.pae pae
VINTAGES := 2.6.24 2.6.25 2.6.30 2.6.34
VINTAGE_GUESTS := entry init lguest_bus ring
VERSION_g1 := 2.6.23
VERSION_g2 := 2.6.29
VERSION_g3 := 2.6.32
VERSION_g4 := 3.1
KERNEL_g1 := 20623
KERNEL_g2 := 20629
KERNEL_g3 := 20632
KERNEL_g4 := 30100
KERNEL_2.6.24 := 20624
KERNEL_2.6.25 := 20625
KERNEL_2.6.30 := 20630
KERNEL_2.6.34 := 20634
# But for these. PCI and the folding of interrupts came with the newest generation; the counts are of the
# host's work, and what every instruction has to survive does not depend on the guest's ABI.
NEWEST_GUESTS := block counts devices fold interrupted io mmio system_calls tables_hidden
# Calls and ranges that the newest generation has no more.
OLD_GUESTS := console dma_bus lguest_bus noirq texts
# The bus of G1, and that of G2 to G4.
DMA_GUESTS := dma_bus
BUS_GUESTS := lguest_bus
# A flag that only the first two kernels were refused.
FIRST_GUESTS := write_through
# Linear mode came with 3.1.
LINEAR_GUESTS := linear
# Tables that stand for each other, which three levels do not; and what page tables have no part in.
TWO_LEVEL_GUESTS := tables console noirq texts
# CRASH became SHUTDOWN with 2.6.25.
RESTART_GUESTS := restart restart_unsaid
# Page directories, NX, and what only tables with them have; NAME.elf has three levels too.
PAE_GUESTS := pae pae_kills pae_roots
# Those that have the machine's devices on such a bus.
OLD_BUS_GUESTS := attached/dma_echo attached/lguest_echo attached/lguest_rng
ALL_GUESTS := $(basename $(notdir $(wildcard tests/guests/*.c)))
OLD_ABLE := $(filter-out $(NEWEST_GUESTS) $(FIRST_GUESTS),$(ALL_GUESTS))
guests_of_g1 := $(filter-out $(PAE_GUESTS) $(LINEAR_GUESTS) $(RESTART_GUESTS) $(BUS_GUESTS),$(OLD_ABLE)) $(FIRST_GUESTS)
guests_of_g2 := $(filter-out $(PAE_GUESTS) $(LINEAR_GUESTS) $(DMA_GUESTS),$(OLD_ABLE))
guests_of_g3 := $(guests_of_g2)
guests_of_g4 := $(filter-out $(PAE_GUESTS) $(DMA_GUESTS),$(OLD_ABLE))
guests_of_g3.pae := $(filter-out $(TWO_LEVEL_GUESTS) $(LINEAR_GUESTS) $(DMA_GUESTS),$(OLD_ABLE))
guests_of_g4.pae := $(filter-out $(TWO_LEVEL_GUESTS) $(DMA_GUESTS),$(OLD_ABLE))
guests_of_pae := $(filter-out $(PAE_GUESTS) $(BUS_GUESTS),$(guests_of_g4.pae))
MICRO_GUESTS := $(patsubst %,build/tests/guests/%.elf,\
	$(filter-out $(OLD_GUESTS) $(FIRST_GUESTS),$(ALL_GUESTS)) \
	$(filter-out $(OLD_BUS_GUESTS),\
		$(patsubst tests/guests/%.c,%,$(wildcard tests/guests/hosted/*.c tests/guests/attached/*.c))) \
	attached/dma_echo.g1 $(addprefix attached/lguest_echo.,2.6.24 g2 g3 g4) \
	$(addprefix attached/lguest_rng.,g2 g3 g4) \
	$(foreach word,$(GENERATIONS) $(PAE_WORDS),$(addsuffix .$(word),$(guests_of_$(word)))) \
	$(foreach word,$(VINTAGES),$(addsuffix .$(word),$(VINTAGE_GUESTS))) \
	$(addprefix hosted/random.,$(GENERATIONS) $(PAE_WORDS)) \
	$(addsuffix .2.6.24,$(FIRST_GUESTS)))
# Guests that attack their host; those of PAE_ATTACKS need page directories.
PAE_ATTACKS := longest_exits_pae many_roots
ATTACK_GUESTS := $(patsubst tests/attacks/%.c,build/tests/guests/attacks/%.elf,$(wildcard tests/attacks/*.c))
MICRO_GUESTS += $(ATTACK_GUESTS)
MICRO_LIBRARY := $(wildcard tests/guests/lib/*.c tests/guests/lib/*.S)
MICRO_HEADERS := $(wildcard tests/guests/lib/*.h tests/guests/lib/bare/*.h)

.SECONDEXPANSION:
# Objects are named like their sources: the link script tells a guest's parts apart by that.
build/guests/%.elf: $$(wildcard apps/guests/%/*) linker/guest.ld Makefile
	@rm -rf $(@:.elf=.objects) && mkdir -p $(@:.elf=.objects)
	$(Q)cd $(@:.elf=.objects) && $(GUEST_CC) -I$(CURDIR)/apps/guests/$* -c $(abspath $(filter %.c %.S,$^))
	$(Q)$(GUEST_CC) $(@:.elf=.objects)/*.o $(GUEST_LD),-T,linker/guest.ld -o $@

ATTACK_HEADERS := $(wildcard tests/attacks/*.h)
$(ATTACK_GUESTS): build/tests/guests/attacks/%.elf: tests/attacks/%.c $(ATTACK_HEADERS) $(MICRO_HEADERS) \
		build/tests/guests/library$$(if $$(filter $$*,$(PAE_ATTACKS)),.pae).o tests/guests/guest.ld Makefile
	@mkdir -p $(@D)
	$(Q)$(GUEST_CC) $(if $(filter $*,$(PAE_ATTACKS)),-DPAE=1) -Itests/guests/lib $(filter %.c %.o,$^) \
		$(GUEST_LD),-T,tests/guests/guest.ld -o $@

# Guests that measure. Each is built a second time as a kernel of its own machine (BARE), where it measures what the
# processor does without a host. Those of HOSTED_BENCHES have nothing to measure there.
HOSTED_BENCHES := devices faults
BENCHES := $(basename $(notdir $(wildcard tests/bench/*.c)))
BENCH_GUESTS := $(BENCHES:%=build/tests/guests/bench/%.elf) \
	$(patsubst %,build/tests/guests/bench/%.bare.elf,$(filter-out $(HOSTED_BENCHES),$(BENCHES)))
BENCH_HEADERS := $(wildcard tests/bench/*.h)
HIGH_KERNEL := 0x4000000
BENCH_DEFINES := -DHIGH_KERNEL=$(HIGH_KERNEL)
# Before the script, which asks for it.
BENCH_LD := -Wl,--defsym=kernel_base=$(HIGH_KERNEL)
BARE_LIBRARY := $(wildcard tests/guests/lib/bare/*.c)
build/tests/guests/bench/%.bare.elf: tests/bench/%.c $(BENCH_HEADERS) $(MICRO_HEADERS) build/tests/guests/library.bare.o \
		tests/guests/guest.ld Makefile
	@mkdir -p $(@D)
	$(Q)$(GUEST_CC) $(BENCH_DEFINES) -DBARE=1 -Itests/guests/lib $(filter %.c %.o,$^) \
		$(BENCH_LD) $(GUEST_LD),-T,tests/guests/guest.ld -o $@
build/tests/guests/bench/%.elf: tests/bench/%.c $(BENCH_HEADERS) $(MICRO_HEADERS) build/tests/guests/library.high.o \
		tests/guests/guest.ld Makefile
	@mkdir -p $(@D)
	$(Q)$(GUEST_CC) $(BENCH_DEFINES) -Itests/guests/lib $(filter %.c %.o,$^) \
		$(BENCH_LD) $(GUEST_LD),-T,tests/guests/guest.ld -o $@

# An exact rule comes before the pattern below, which would give these guests two levels.
$(PAE_GUESTS:%=build/tests/guests/%.elf): build/tests/guests/%.elf: tests/guests/%.c build/tests/guests/library.pae.o
	$(Q)$(GUEST_CC) -DPAE=1 -Itests/guests/lib $^ $(GUEST_LD),-T,tests/guests/guest.ld -o $@

# $1: the word with a dot in front, or nothing; $2: what the world defines; $3: what its library has beside the
# others. The library is linked once for all guests of a world.
define micro_world
build/tests/guests/library$1.o: $(MICRO_LIBRARY) $3 $(MICRO_HEADERS) Makefile
	@mkdir -p $$(@D)
	$$(Q)$$(GUEST_CC) $2 -Itests/guests/lib $(MICRO_LIBRARY) $3 -r -nostdlib -no-pie -Wl,-m,elf_i386,-z,noexecstack -o $$@
build/tests/guests/%$1.elf: tests/guests/%.c build/tests/guests/library$1.o $(MICRO_HEADERS) tests/guests/guest.ld Makefile
	@mkdir -p $$(@D)
	$$(Q)$$(GUEST_CC) $2 -Itests/guests/lib $$(filter %.c %.o,$$^) $$(GUEST_LD),-T,tests/guests/guest.ld -o $$@
endef
# The kernel's number and its banner, which is all that a host has to go by before a guest's first call.
defines = -DKERNEL=$(KERNEL_$1) -DLINUX_VERSION='"$(or $(VERSION_$1),$1)"'
$(eval $(call micro_world,,))
$(eval $(call micro_world,.pae,-DPAE=1))
$(eval $(call micro_world,.high,$(BENCH_DEFINES)))
$(eval $(call micro_world,.bare,$(BENCH_DEFINES) -DBARE=1,$(BARE_LIBRARY)))
$(foreach word,$(GENERATIONS) $(VINTAGES),$(eval $(call micro_world,.$(word),$(call defines,$(word)))))
$(foreach word,g3 g4,$(eval $(call micro_world,.$(word).pae,$(call defines,$(word)) -DPAE=1)))

# ---- images ----------------------------------------------------------------------------------

.PHONY: FORCE
FORCE:

# cargo knows whether anything changed. The log strings and debug information stay beside the image.
define build_image
	@test -f apps/$*/Cargo.toml || test -f tests/hosts/$*/Cargo.toml || \
		{ $(call say,there is no application $*; see apps/); exit 1; }
	@$(call say,building $*)
	$(Q)cargo build $(CARGO_QUIET) --release -p $* $1
	@mkdir -p $(@D)
	@cmp -s $(BUILT)/release/$* $(@:.elf=.debug) || cp $(BUILT)/release/$* $(@:.elf=.debug)
	$(Q)strip --strip-all -o $@ $(@:.elf=.debug)
endef

$(IMAGES)/%.elf: FORCE $(GUESTS)
	$(call build_image)

# The same with the shadow tables audited after every exit that changes them; and hosts of the tests' own.
$(TESTED)/%.elf: FORCE $(GUESTS)
	$(call build_image,--features audit)

# The same as the first with the exit trace.
PROFILE  := build/profile
PROFILED := $(PROFILE)/images
$(PROFILED)/%.elf: FORCE $(GUESTS)
	$(call build_image,--features profile)

GRUB_MODULES := multiboot2 normal configfile iso9660 biosdisk part_msdos boot
space := $() $()
# The host's command line on a disc; QEMU's -append carries the same words.
HOST_WORDS = $(strip $(if $(LOG),log=$(LOG)) $(if $(MODE),mode=$(MODE)) $(if $(MEM),memory=$(MEM)) \
	$(if $(GENERATION),generation=$(GENERATION)) \
	$(if $(KERNEL),,$(if $(CMDLINE),-- $(CMDLINE))))

# $1: the disc; $2: the directory that becomes it, and goes; $3: more modules.
define grub_disc
$(Q)grub-mkrescue -d /usr/lib/grub/i386-pc --install-modules="$(GRUB_MODULES) $3" \
	--fonts= --locales= --themes= -o $1 $2 >$1.log 2>&1 || { cat $1.log >&2; exit 1; }
@rm -rf $2 $1.log
endef

%.iso: %.elf need-iso $(RUNNER) FORCE
	@rm -rf $*.tree && mkdir -p $*.tree/boot/grub
	@cp $< $*.tree/boot/host.elf
	@$(if $(KERNEL),$(RUNNER) $(call guest_arguments) --write-module $*.tree/boot/module $<)
	@printf '%s\n' 'multiboot2 /boot/host.elf '$(call quote,$(HOST_WORDS)) \
		$(if $(KERNEL),'module2 /boot/module') boot > $*.tree/boot/grub/grub.cfg
	$(call grub_disc,$@,$*.tree)

# A disc that boots whatever is on the first hard disk, an archive: Bochs gets every guest by the same one.
build/tests/loader.iso: Makefile | need-iso
	@rm -rf $(@:.iso=.tree) && mkdir -p $(@:.iso=.tree)/boot/grub
	@printf '%s\n' 'set root=(hd0)' 'configfile (hd0)/grub.cfg' > $(@:.iso=.tree)/boot/grub/grub.cfg
	$(call grub_disc,$@,$(@:.iso=.tree),newc)

# An image with its guest inside: what a boot loader would bring beside it lies in the section .guest, the
# last of the image. Variables that say nothing about the guest or the host's words leave the image as it is.
define build_appliance
	$(Q)$(RUNNER) $(host_arguments) $(guest_arguments) --write-section $(@:.elf=.guest) $<
	$(Q)objcopy --update-section .guest=$(@:.elf=.guest) $< $@
	@cp $(<:.elf=.debug) $(@:.elf=.debug)
	@rm $(@:.elf=.guest)
endef
$(IMAGES)/%-appliance.elf: $(IMAGES)/%.elf $(RUNNER) FORCE
	$(build_appliance)
$(TESTED)/%-appliance.elf: $(TESTED)/%.elf $(RUNNER) FORCE
	$(build_appliance)

appliance = $(if $(strip $(KERNEL)$(INITRD)$(RAM_DISK)$(CMDLINE)$(MODE)$(MEM)$(GENERATION)$(LOG)),-appliance)

.PHONY: image
image: $(IMAGES)/$(APP)$(if $(ISO),.iso,$(appliance).elf)
	@echo $(CURDIR)/$<

# ---- running ---------------------------------------------------------------------------------

$(RUNNER): FORCE
	$(Q)cargo build $(CARGO_QUIET) -p hv-runner

quote = '$(subst ','\'',$1)'
option = $(if $($2),--$1 $(call quote,$($2)))
guest_arguments = $(call option,kernel,KERNEL) $(call option,initrd,INITRD) $(call option,cmdline,CMDLINE) \
	$(foreach file,$(RAM_DISK),--ram-disk $(call quote,$(file)))
host_arguments = $(call option,memory,MEM) $(call option,mode,MODE) $(call option,log,LOG) \
	$(if $(GENERATION),--append $(call quote,generation=$(GENERATION)))
run_command = $(RUNNER) $(call option,qemu,QEMU) $(call option,accel,ACCEL) $(call option,smp,SMP) \
	$(host_arguments) $(call option,restart,RESTART) \
	$(if $(filter-out 0,$(DETERMINISTIC)),--deterministic) $(foreach disk,$(DISK),--disk $(call quote,$(disk))) \
	$(call option,net,NET) $(call option,rng,RNG) $(guest_arguments) $(IMAGES)/$(APP).elf

# make itself would turn every failure into status 2. So its process becomes the runner's, by a function
# that become.so adds to make. Where that cannot be had, the command runs as any other, and 2 it is.
build/become.so: tests/doors/become.c
	@mkdir -p $(@D)
	@gcc -O2 -Wall -shared -fPIC -o $@ $< 2>/dev/null || \
		{ $(call say,this make cannot pass on the exit status: every failure will be 2); : > $@; }
last_goal = $(filter run,$(lastword $(MAKECMDGOALS)))
dry_run = $(findstring n,$(filter-out --%,$(firstword $(MAKEFLAGS))))
become_command = $(if $(and $(last_goal),$(if $(dry_run),,yes)),$(eval -load build/become.so)$(become exec $1))

.PHONY: run
run: need-qemu $(RUNNER) $(IMAGES)/$(APP).elf build/become.so
	$(Q)$(call become_command,$(run_command))$(run_command)

# The console goes to a file, because gdb has this terminal. Before the host turns paging on, only
# hardware breakpoints (hbreak) hold.
.PHONY: gdb
gdb: need-qemu need-gdb $(RUNNER) $(IMAGES)/$(APP).elf
	@$(call say,the console is in build/gdb-console.log; try: hbreak pvh_entry)
	$(Q)$(RUNNER) --gdb unix:build/gdb.sock$(,)server=on,wait=off $(filter-out $(RUNNER),$(run_command)) \
		</dev/null >build/gdb-console.log 2>build/gdb-log.log & runner=$$!; \
	while [ ! -S build/gdb.sock ] && kill -0 $$runner 2>/dev/null; do sleep 0.1; done; \
	gdb -q $(IMAGES)/$(APP).debug -ex 'target remote build/gdb.sock'; \
	kill $$runner 2>/dev/null; rm -f build/gdb.sock; true
, := ,

# ---- fuzzing ---------------------------------------------------------------------------------

# make test runs the targets too, on any compiler; libFuzzer needs a nightly one.
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/libfuzzer/*.rs)))
# Where inputs go that lead somewhere new, and those that fail.
FUZZ := build/fuzz
SECONDS ?= 60
# Executions of each target, in place of a time.
RUNS ?=
# No sanitizer: the code under test has no unsafe part. Comparisons are not traced: that costs most of the speed, and what it
# finds, magic numbers, the corpora have already.
FUZZ_BUILD := CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true cargo +nightly fuzz build --fuzz-dir tests/fuzz --features libfuzzer \
	--sanitizer none --no-trace-compares --debug-assertions --target-dir target/fuzz
.PHONY: fuzz
fuzz: need-fuzz
	@$(call say,building the fuzz targets)
	$(Q)$(FUZZ_BUILD) $(if $(Q),>$(FUZZ)/build.log 2>&1 || { cat $(FUZZ)/build.log >&2; exit 1; })
	@for target in $(or $(TARGET),$(FUZZ_TARGETS)); do \
		echo "libhv: fuzzing $$target" >&2; \
		mkdir -p $(FUZZ)/$$target; \
		target/fuzz/$(TRIPLE)/release/$$target -max_len=2048 -timeout=10 -print_final_stats=1 \
			$(if $(RUNS),-runs=$(RUNS),-max_total_time=$(SECONDS)) -artifact_prefix=$(FUZZ)/$$target.failed. \
			$(FUZZ)/$$target tests/fuzz/corpus/$$target >$(FUZZ)/$$target.log 2>&1 || \
			{ tail -n 40 $(FUZZ)/$$target.log >&2; exit 1; }; \
		sed -n "s/stat::number_of_executed_units: */FUZZ $$target /p" $(FUZZ)/$$target.log; \
	done

.PHONY: need-fuzz
need-fuzz:
	@tests/doors/need.sh c++:g++
	@cargo +nightly --version >/dev/null 2>&1 || { $(call say,libFuzzer needs a nightly compiler: rustup toolchain install nightly); exit 1; }
	@mkdir -p $(FUZZ)
	@cargo fuzz --version >/dev/null 2>&1 || { $(call say,installing cargo-fuzz); cargo install --locked $(CARGO_QUIET) cargo-fuzz; }

# ---- how much the tests see ------------------------------------------------------------------

# Both tools run hv-core's own tests; a profile of their own builds them in little time.
LLVM_COV_VERSION := 0.9.1
MUTANTS_VERSION := 25.3.1
COVERAGE := build/coverage
.PHONY: coverage
coverage: need-coverage
	@$(call say,running the tests of hv-core; their output goes to $(COVERAGE))
	$(Q)cargo llvm-cov --profile quick -p hv-core --lib --test shadow --lcov --output-path $(COVERAGE)/core.lcov \
		>$(COVERAGE)/core.log 2>&1 || { tail -n 40 $(COVERAGE)/core.log >&2; exit 1; }
	$(Q)python3 tests/doors/coverage.py $(COVERAGE)/core.lcov $(COVERAGE)/uncovered 95

.PHONY: need-coverage
need-coverage:
	@mkdir -p $(COVERAGE)
	@rustup component list --installed | grep -q '^llvm-tools' || \
		{ $(call say,installing llvm-tools); rustup component add llvm-tools; }
	@cargo llvm-cov --version >/dev/null 2>&1 || { $(call say,installing cargo-llvm-cov); \
		cargo install --locked $(CARGO_QUIET) cargo-llvm-cov@$(LLVM_COV_VERSION); }

# The first run has few random guests, which find most; the second asks as many as `make test` about the rest.
# The same ones each time, and those that fail need not be made shorter.
MUTANTS := build/mutants
MUTANTS_RUN = PROPTEST_RNG_SEED=1 PROPTEST_MAX_SHRINK_ITERS=0 cargo mutants -p hv-core --no-shuffle -o $(MUTANTS) \
	$(if $(SHARD),--shard $(SHARD))
.PHONY: mutants
mutants: need-mutants
	@rm -rf $(MUTANTS) && mkdir -p $(MUTANTS)
	-$(Q)PROPTEST_CASES=40 $(MUTANTS_RUN)
	-$(Q)PROPTEST_CASES=400 $(MUTANTS_RUN) --iterate
	$(Q)python3 tests/doors/mutants.py $(MUTANTS)/mutants.out docs/mutants.md 5

.PHONY: need-mutants
need-mutants:
	@cargo mutants --version >/dev/null 2>&1 || { $(call say,installing cargo-mutants); \
		cargo install --locked $(CARGO_QUIET) cargo-mutants@$(MUTANTS_VERSION); }

# ---- checking --------------------------------------------------------------------------------

# Crates that are images: they take the place of what the standard library gives other crates.
TEST_APPS := demo linux $(notdir $(patsubst %/Cargo.toml,%,$(wildcard tests/hosts/*/Cargo.toml)))
# Those that only benchmarks boot.
MEASURED_APPS := loopback
# What tests that boot images find in their environment.
IN_QEMU = HV_IMAGES=$(CURDIR)/$(TESTED) HV_PROFILED=$(CURDIR)/$(PROFILED) HV_MICRO_GUESTS=$(CURDIR)/build/tests/guests \
	QEMU=$(call quote,$(QEMU)) RUST_TEST_THREADS=2
# What tests expect of the appliance is in tests/qemu/appliance.rs.
APPLIANCE_FOR_TESTS := $(TESTED)/linux-appliance.elf
$(APPLIANCE_FOR_TESTS): build/tests/guests/kills.elf
$(APPLIANCE_FOR_TESTS): override KERNEL := build/tests/guests/kills.elf
$(APPLIANCE_FOR_TESTS): override CMDLINE := of the image case=call_11
$(APPLIANCE_FOR_TESTS): override MODE := isolated
$(APPLIANCE_FOR_TESTS): override MEM := 48
.PHONY: test
test: need-qemu need-iso $(MICRO_GUESTS) $(patsubst %,$(TESTED)/%.elf,$(filter-out $(MEASURED_APPS),$(TEST_APPS))) \
		$(PROFILED)/linux.elf $(TESTED)/demo.iso $(APPLIANCE_FOR_TESTS) $(APPLIANCE_FOR_TESTS:.elf=.iso)
	$(Q)$(IN_QEMU) UPDATE=$(UPDATE) python3 tests/doors/total.py \
		cargo test $(CARGO_QUIET) --workspace $(TEST_APPS:%=--exclude %) --no-fail-fast

# The image that is tested, and the guests, are those of `make test`. Behind the tests stands what became of each attack.
BOCHS := build/bochs
.PHONY: test-bochs
test-bochs: need-bochs $(MICRO_GUESTS) $(TESTED)/linux.elf build/tests/loader.iso
	@rm -rf $(BOCHS) && mkdir -p $(BOCHS)
	$(Q)$(IN_QEMU) HV_BOCHS_LOADER=$(CURDIR)/build/tests/loader.iso HV_VERDICTS=$(CURDIR)/$(BOCHS)/verdicts.log \
		python3 tests/doors/total.py \
		cargo test $(CARGO_QUIET) -p hv-tests --no-fail-fast --test bochs --test bochs_attacks
	$(Q)cargo run $(CARGO_QUIET) -p hv-tests --bin matrix -- bochs $(BOCHS)/verdicts.log

# One run of each guest is enough to show a statement; make test runs them in all ways, and the tests
# without a number as well. With --quiet, cargo would not print the tests' names.
CONFORMANCE := build/conformance
.PHONY: conformance
conformance: need-qemu $(MICRO_GUESTS) $(TESTED)/linux.elf $(TESTED)/api.elf
	@rm -rf $(CONFORMANCE) && mkdir -p $(CONFORMANCE)
	@$(call say,running the tests that have an LG number; their output goes to $(CONFORMANCE))
	-$(Q)cargo test -p hv-core -p libhv --no-fail-fast lg >$(CONFORMANCE)/core.log
	-$(Q)$(IN_QEMU) HV_VERDICTS=$(CURDIR)/$(CONFORMANCE)/verdicts.log \
		cargo test -p hv-tests --no-fail-fast --test micro_guests --test api --test undisturbed \
		-- --skip isolated --skip detected >$(CONFORMANCE)/qemu.log
	$(Q)cargo run $(CARGO_QUIET) -p hv-tests --bin matrix -- conformance $(CONFORMANCE)/*.log

# The tests of hv-core that have an A number in their name, the guests of tests/attacks, and what micro
# guests of tests/guests show of the same in both modes.
ATTACK := build/attack
.PHONY: attack
attack: need-qemu $(MICRO_GUESTS) $(TESTED)/linux.elf
	@rm -rf $(ATTACK) && mkdir -p $(ATTACK)
	@$(call say,running the attacks; the output of the tests goes to $(ATTACK))
	-$(Q)cargo test -p hv-core --no-fail-fast >$(ATTACK)/core.log
	-$(Q)$(IN_QEMU) HV_VERDICTS=$(CURDIR)/$(ATTACK)/verdicts.log \
		cargo test -p hv-tests --no-fail-fast --test attacks --test frames --test interruptions --test undisturbed >$(ATTACK)/qemu.log
	-$(Q)$(foreach mode,shared isolated,$(IN_QEMU) HV_VERDICTS=$(CURDIR)/$(ATTACK)/verdicts.log \
		cargo test -p hv-tests --no-fail-fast --test micro_guests -- $(mode) >$(ATTACK)/$(mode).log;)
	$(Q)cargo run $(CARGO_QUIET) -p hv-tests --bin matrix -- attack $(ATTACK)/*.log

# The images are those that users run, without the audit.
BASELINE := tests/bench/baseline.txt
.PHONY: bench
bench: need-qemu $(BENCH_GUESTS) $(IMAGES)/linux.elf $(MEASURED_APPS:%=$(IMAGES)/%.elf)
	@$(call say,counting instructions)
	$(Q)HV_IMAGES=$(CURDIR)/$(IMAGES) HV_MICRO_GUESTS=$(CURDIR)/build/tests/guests QEMU=$(call quote,$(QEMU)) \
		cargo run $(CARGO_QUIET) -p hv-tests --bin bench -- $(BASELINE) \
		$(if $(filter-out 0,$(UPDATE)),--update docs/performance.md)

# A program for Linux, not a guest: it needs no library and no kernel of ours.
LINUX_BENCH := build/tests/linux-bench
$(LINUX_BENCH): $(wildcard tests/bench/linux/*.[ch]) Makefile
	@mkdir -p $(@D)
	$(Q)$(GUEST_CC) $(filter %.c,$^) $(GUEST_LD) -o $@

.PHONY: bench-linux
bench-linux: need-qemu $(LINUX_BENCH) $(if $(KERNEL),$(IMAGES)/linux.elf)
	@$(if $(KERNEL),,echo "libhv: make bench-linux needs KERNEL=, a bzImage" >&2; exit 2)
	@$(call say,measuring a kernel)
	$(Q)HV_IMAGES=$(CURDIR)/$(IMAGES) QEMU=$(call quote,$(QEMU)) cargo run $(CARGO_QUIET) -p hv-tests --bin bench_linux -- \
		$(call quote,$(KERNEL)) --program $(LINUX_BENCH) $(if $(INITRD),--initrd $(call quote,$(INITRD))) \
		$(if $(RUNS),--runs $(RUNS))

# Where a guest's exits come from: one of the guests that measure, or the user's. The exit trace is in the log, the guest's
# console goes to standard error. Guests of devices need another host.
BENCH ?= processes
PROFILABLE := $(filter-out devices,$(BENCHES))
profile: override APP := linux
profile: override IMAGES := $(PROFILED)
profile: override LOG := info
profile: override RESTART := no
profile: override DETERMINISTIC := 1
ifeq ($(strip $(KERNEL)),)
# As `make bench` has them.
profile: override KERNEL := build/tests/guests/bench/$(BENCH).elf
profile: override GENERATION := g5
profile: override MEM := 96
profile_guest := $(if $(filter $(PROFILABLE),$(BENCH)),build/tests/guests/bench/$(BENCH).elf)
endif
profile_name = $(PROFILE)/$(basename $(notdir $(KERNEL)))
.PHONY: profile need-profiled
need-profiled: $(profile_guest)
	@test -f $(call quote,$(KERNEL)) -a -r $(call quote,$(KERNEL)) || { \
		$(call say,make profile needs KERNEL=$(,) a file$(,) or BENCH=$(,) one of $(PROFILABLE)); exit 2; }
profile: need-profiled need-qemu $(RUNNER) $(PROFILED)/linux.elf
	@$(call say,running $(notdir $(KERNEL)); a profile is made when it ends; the log goes to $(profile_name).log)
	$(Q)$(run_command) >&2 2>$(call quote,$(profile_name).log) || true
	$(Q)cargo run $(CARGO_QUIET) -p hv-tests --bin profile -- $(call quote,$(profile_name).log) \
		--kernel $(call quote,$(KERNEL)) --picture $(call quote,$(profile_name).svg)

.PHONY: check
check: $(GUESTS) $(LINUX_BENCH)
	$(Q)cargo fmt --all --check
	$(Q)cargo clippy $(CARGO_QUIET) --workspace $(TEST_APPS:%=--exclude %) --all-targets -- -D warnings
	$(Q)cargo clippy $(CARGO_QUIET) --release --features audit $(TEST_APPS:%=-p %) -- -D warnings
	$(Q)cargo clippy $(CARGO_QUIET) --release --features profile -p linux -- -D warnings
	$(Q)RUSTDOCFLAGS='-D warnings' cargo doc $(CARGO_QUIET) --workspace $(TEST_APPS:%=--exclude %) --no-deps
	$(Q)cargo metadata --format-version 1 --locked | python3 tests/doors/licences.py $(TEST_APPS)
	$(Q)python3 tests/doors/tour.py check
	$(Q)python3 tests/doors/named_tests.py docs/soundness.md

.PHONY: tour
tour:
	@python3 tests/doors/tour.py print

.PHONY: clean
clean:
	rm -rf build
	cargo clean
