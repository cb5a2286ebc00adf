//! The guest, and the loop that runs it.

use crate::device::Model;
use crate::exit::{Exit, PortRead, Status, Stop};
use crate::kick::Kicker;
use crate::ports::ClaimedPorts;
use crate::statistics::Statistics;
use core::time::Duration;
use hv_core::address::{Gpa, Gva};
use hv_core::clock::{Clock as _, Nanos};
use hv_core::device::Work;
use hv_core::device::backend::Full;
use hv_core::device::bus::Bus;
use hv_core::device::virtio::Violation;
#[cfg(feature = "profile")]
use hv_core::exit_kind::Kind;
use hv_core::kill::Kill;
use hv_core::log_limit::LogLimit;
use hv_core::memory::{BadAddress, GuestMemory as _};
use hv_core::personality::lguest::{Changes, Lguest};
use hv_core::personality::{BadIrq, End, Next, NoHandler, Trap, Ts};
#[cfg(feature = "profile")]
use hv_core::profile::{Origin, Profile};
use hv_core::registers::Registers;
use hv_core::shadow::{AnyFormatShadow, Invalidation, Slot};
use hv_hw::apic::{MESSAGE_VECTORS, SPURIOUS_VECTOR, TIMER_VECTOR};
use hv_hw::clock::{Clocks, Timer};
use hv_hw::crash_record;
use hv_hw::guest_ram::DirectRam;
use hv_hw::guest_space::GuestSpace;
use hv_hw::pic::{COM1_LINE, Pic};
#[cfg(feature = "profile")]
use hv_hw::switch::Stamps;
use hv_hw::switch::{HwExit, Switch, TaskSwitched};
use hv_hw::table_pool::FixedPool;

#[cfg(feature = "profile")]
const PAGE_FAULT: u8 = 14;

/// The shadow with the host's own frames and storage.
pub(crate) type HostShadow = AnyFormatShadow<FixedPool, &'static mut [Slot]>;
/// The personality with the host's own memory and shadow.
pub(crate) type HostLguest = Lguest<DirectRam, HostShadow, ClaimedPorts<Bus<Model>>>;

/// A guest, with the one processor it runs on.
pub struct Guest {
    lguest: HostLguest,
    switch: Switch,
    space: GuestSpace,
    clocks: Clocks,
    timer: Timer,
    pic: Pic,
    /// How the guest ended; it never runs again.
    ended: Option<End>,
    host_interrupts: u64,
    /// For lines about rules of virtio that the guest breaks.
    violations: LogLimit,
    /// Machine checks that the log has heard of, and the limit of lines about them.
    machine_checks_logged: u64,
    machine_checks: LogLimit,
    /// When the guest is to be kicked.
    kick_at: Option<Nanos>,
    #[cfg(feature = "audit")]
    auditor: crate::audit::Auditor,
    #[cfg(feature = "audit")]
    exit_times: crate::exit_times::ExitTimes,
    #[cfg(feature = "profile")]
    profile: Profile,
}

/// What [`Builder::start`](crate::Builder::start) puts together.
pub(crate) struct Parts {
    pub lguest: HostLguest,
    pub switch: Switch,
    pub space: GuestSpace,
    pub clocks: Clocks,
    pub timer: Timer,
    pub pic: Pic,
    #[cfg(feature = "profile")]
    pub profile: Profile,
}

impl Guest {
    /// Describes a guest for `machine`; see [`Builder`](crate::Builder).
    pub fn build(machine: hv_boot::Machine) -> crate::Builder {
        crate::Builder::new(machine)
    }

    pub(crate) fn new(parts: Parts, start: u32) -> Self {
        let Parts {
            lguest,
            mut switch,
            space,
            clocks,
            timer,
            mut pic,
            #[cfg(feature = "profile")]
            profile,
        } = parts;
        *switch.registers() = HostLguest::entry_registers(start);
        pic.unmask(COM1_LINE);
        Self {
            lguest,
            switch,
            space,
            clocks,
            timer,
            pic,
            ended: None,
            host_interrupts: 0,
            violations: LogLimit::default(),
            machine_checks_logged: 0,
            machine_checks: LogLimit::default(),
            kick_at: None,
            #[cfg(feature = "audit")]
            auditor: crate::audit::Auditor::default(),
            #[cfg(feature = "audit")]
            exit_times: crate::exit_times::ExitTimes::default(),
            #[cfg(feature = "profile")]
            profile,
        }
    }

    /// Runs the guest until it ends, and says how.
    pub fn run_to_end(&mut self) -> Stop {
        loop {
            match self.run() {
                Exit::Kicked => {}
                Exit::Killed(kill) => return self.killed(kill),
                exit => return Stop::from(exit),
            }
        }
    }

    /// The stop of a killed guest, with what can be guessed about it.
    fn killed(&self, kill: Kill) -> Stop {
        match self.lguest.hint(&kill) {
            Some(hint) => Stop::new(Status::Killed, format_args!("guest killed: {kill}; {hint}")),
            None => Stop::from(Exit::Killed(kill)),
        }
    }

    /// Tour 2. Runs the guest until there is something that the application decides.
    ///
    /// Each turn lets the personality deliver what waits for the guest, tells the hardware what
    /// changed, and enters. What comes back is for the personality (a trap) or for the host (an
    /// interrupt). A guest that has ended only ever returns its end again.
    pub fn run(&mut self) -> Exit {
        loop {
            if let Some(end) = &self.ended {
                return exit_of(end.clone());
            }
            match self.run_on() {
                Ok(exit) => return exit,
                Err(end) => self.end(end),
            }
        }
    }

    fn run_on(&mut self) -> Result<Exit, End> {
        loop {
            if self.kicker().take() {
                return Ok(Exit::Kicked);
            }
            if let Some(exit) = self.turn()? {
                return Ok(exit);
            }
        }
    }

    fn turn(&mut self) -> Result<Option<Exit>, End> {
        match self
            .lguest
            .before_entry(self.switch.registers(), &self.clocks)?
        {
            Next::Enter => {}
            next => {
                let output = self.after_devices();
                if next == Next::Halt || output.is_err() {
                    self.sleep();
                    return Ok(None);
                }
            }
        }
        self.tell_hardware();
        self.leaves_host();
        let exit = self.switch.enter();
        self.exited(&exit);
        match exit {
            HwExit::Hypercall => {
                let registers = self.switch.registers();
                crash_record::note_call(registers.eax);
                self.lguest.on_hypercall(registers, &self.clocks)?;
                self.audit();
                Ok(None)
            }
            HwExit::Trap { vector, error, cr2 } => {
                let trap = Trap { vector, error, cr2 };
                let registers = self.switch.registers();
                crash_record::note(registers, cr2, self.lguest.counters().reflected);
                self.lguest.on_trap(registers, trap, &self.clocks)?;
                self.audit();
                Ok(self.lguest.devices_mut().take_exit())
            }
            HwExit::Interrupt(vector) => {
                crash_record::note(self.switch.registers(), 0, self.lguest.counters().reflected);
                self.interrupt(vector);
                Ok(None)
            }
            HwExit::Refused => Err(self.lguest.on_entry_fault(self.switch.registers())),
        }
    }

    /// What devices leave for the host when they have been polled.
    ///
    /// # Errors
    /// When the console's far end has still to take what the guest printed by a register or a hypercall: the guest
    /// has to wait.
    fn after_devices(&mut self) -> Result<(), Full> {
        self.report_violations();
        self.lguest.devices_mut().behind_mut().flush_console()
    }

    /// Until an interrupt of the host's, unless devices have work left.
    fn sleep(&mut self) {
        if self.lguest.device_work() == Work::Done {
            self.arm_timer();
            self.leaves_host();
            self.rests();
            let vector = self.switch.idle();
            self.wakes();
            if let Some(vector) = vector {
                self.interrupt(vector);
            }
        }
        // Whatever the reason to wake, devices are asked again before the guest is entered.
        self.lguest.host_event();
    }

    /// One line for each rule of virtio that a driver has broken, as many as the log is to have.
    fn report_violations(&mut self) {
        // Each device keeps one violation, so this ends.
        while let Some((slot, violation)) = self.lguest.devices_mut().behind_mut().take_violation()
        {
            if !self.violations.admits(self.clocks.now()) {
                continue;
            }
            self.report_left_out();
            self.log_apart(|| log_violation(slot, &violation));
        }
    }

    fn report_left_out(&mut self) {
        let left_out = self.violations.take_left_out();
        if left_out != 0 {
            self.log_apart(|| log_left_out(left_out));
        }
    }

    /// The handler of a machine check cannot log: it may have interrupted a line of the log.
    fn report_machine_checks(&mut self) {
        let count = self.switch.machine_check_count();
        if count != self.machine_checks_logged && self.machine_checks.admits(self.clocks.now()) {
            self.machine_checks_logged = count;
            self.log_apart(|| log_machine_checks(count));
        }
    }

    /// Writes a line to the log, which takes as long as its far end does. With the `audit` feature: apart from the
    /// exit's own time.
    fn log_apart(&mut self, write: impl FnOnce()) {
        #[cfg(feature = "audit")]
        self.exit_times.apart(write);
        #[cfg(not(feature = "audit"))]
        write();
    }

    /// The guest never runs again; its registers and memory stay as they are.
    fn end(&mut self, end: End) {
        self.leaves_host();
        #[cfg(feature = "profile")]
        (self.profile).rests(hv_hw::clock::tsc(), self.lguest.counters().into());
        self.report_violations();
        self.report_left_out();
        self.report_machine_checks();
        self.statistics().log();
        #[cfg(feature = "audit")]
        {
            self.exit_times.report();
            self.auditor.at_the_end(&self.lguest);
        }
        #[cfg(feature = "profile")]
        {
            let generation = self.lguest.generation();
            hv_hw::log_info!("profile: {}", defmt::Display2Format(&self.profile.totals()));
            for line in self.profile.lines(|number| generation.call(number)) {
                hv_hw::log_info!("profile: {}", defmt::Display2Format(&line));
            }
        }
        if matches!(end, End::Killed(_)) {
            let reflected = self.lguest.counters().reflected;
            crash_record::log(self.switch.registers(), Some(reflected));
        }
        self.ended = Some(end);
    }

    /// With the `audit` feature: checks the live shadow after whatever may have changed it.
    fn audit(&mut self) {
        #[cfg(feature = "audit")]
        if self.auditor.is_due() {
            self.exit_times.apart(|| {
                self.auditor.audit(&self.lguest);
            });
        }
    }

    /// With the `audit` feature: what the host had to do is done.
    fn leaves_host(&mut self) {
        #[cfg(feature = "audit")]
        self.exit_times.end();
    }

    /// With the `audit` or `profile` feature: the guest was left.
    fn exited(&mut self, _exit: &HwExit) {
        #[cfg(feature = "audit")]
        {
            let kind = crate::exit_kind::kind(_exit, self.switch.registers().eax);
            self.exit_times.begin(kind);
        }
        #[cfg(feature = "profile")]
        {
            let began = hv_hw::clock::tsc();
            self.note_exit(_exit);
            self.profile.took(hv_hw::clock::tsc().wrapping_sub(began));
        }
    }

    /// Apart from the run loop, so that its registers are not all saved for this one's sake.
    #[cfg(feature = "profile")]
    #[inline(never)]
    fn note_exit(&mut self, exit: &HwExit) {
        let registers = self.switch.registers();
        let mut origin = Origin::new(crate::exit_kind::kind(exit, registers.eax), registers);
        if let HwExit::Trap {
            vector: PAGE_FAULT,
            cr2,
            ..
        } = *exit
        {
            origin = origin.with_fault(cr2);
        }
        let now = self.lguest.counters().into();
        let Stamps { entered, left } = self.switch.stamps();
        self.profile.exited(origin, entered, left, now);
    }

    /// With the `profile` feature: the last exit has been handled, and the host sleeps.
    fn rests(&mut self) {
        #[cfg(feature = "profile")]
        {
            let began = hv_hw::clock::tsc();
            self.profile.rests(began, self.lguest.counters().into());
            self.profile.took(hv_hw::clock::tsc().wrapping_sub(began));
        }
    }

    /// With the `audit` or `profile` feature: the host slept.
    fn wakes(&mut self) {
        #[cfg(feature = "audit")]
        self.exit_times.begin(hv_core::exit_kind::Kind::Wake);
        #[cfg(feature = "profile")]
        {
            let began = hv_hw::clock::tsc();
            let origin = Origin::new(Kind::Wake, self.switch.registers());
            let now = self.lguest.counters().into();
            self.profile.wakes(origin, began, now);
            self.profile.took(hv_hw::clock::tsc().wrapping_sub(began));
        }
    }

    fn arm_timer(&mut self) {
        if self.lguest.needs_recheck() || !self.timer.covers(self.lguest.clock_event()) {
            let now = self.clocks.now();
            self.timer.arm(self.lguest.deadline(now), now, &self.clocks);
        }
    }

    /// Brings the processor up to date with what the personality and the shadow decided.
    fn tell_hardware(&mut self) {
        if self.lguest.has_changes() {
            self.apply();
        }
        match self.lguest.mmu_mut().take_invalidation() {
            Invalidation::None => {}
            Invalidation::Pages(pages) => {
                pages
                    .iter()
                    .for_each(|page: &Gva| self.switch.flush_page(page.raw()));
            }
            Invalidation::All => {
                self.space.show(self.lguest.mmu().root());
                self.switch.flush();
            }
        }
        #[cfg(feature = "audit")]
        assert_eq!(self.space.shown(), self.lguest.mmu().root());
    }

    #[inline(never)]
    fn apply(&mut self) {
        let changes = self.lguest.take_changes();
        if changes.contains(Changes::GDT) {
            self.switch.load_gdt(self.lguest.gdt());
        }
        if changes.contains(Changes::GATES) {
            for vector in 0..=255 {
                self.switch
                    .set_gate_privilege(vector, self.lguest.gate_privilege(vector));
            }
        }
        if changes.concern_syscalls() {
            self.switch.set_direct_syscall(self.lguest.direct_syscall());
        }
        if changes.contains(Changes::TS) {
            self.switch
                .set_task_switched(match self.lguest.task_switched() {
                    Ts::Set => TaskSwitched::Set,
                    Ts::Clear => TaskSwitched::Clear,
                });
        }
        if changes.contains(Changes::CLOCK) {
            self.arm_timer();
        }
    }

    /// An interrupt of the host's own. Whatever it brings is picked up before the next entry.
    fn interrupt(&mut self, vector: u8) {
        self.host_interrupts = self.host_interrupts.wrapping_add(1);
        self.lguest.host_event();
        self.report_machine_checks();
        match vector {
            TIMER_VECTOR => {
                self.timer.expired();
                self.kick_if_due();
            }
            SPURIOUS_VECTOR => {}
            vector if MESSAGE_VECTORS.contains(&vector) => self.timer.end_of_message(),
            _ => {
                if let Some(line) = Pic::line(vector) {
                    if line == COM1_LINE {
                        hv_hw::uart::console_interrupt();
                    }
                    self.pic.end_of_interrupt(line);
                }
            }
        }
    }

    /// Gives the guest the value it reads, in the low bits that the access is wide.
    pub fn answer(&mut self, read: PortRead, value: u32) {
        let ones = read.width.ones();
        let registers = self.switch.registers();
        registers.eax = registers.eax & !ones | value & ones;
    }

    /// The guest's registers.
    pub fn registers(&mut self) -> &Registers {
        self.switch.save_segments();
        self.switch.registers()
    }

    /// Changes the guest's general registers, EIP and ESP. Segment registers and flags are not the
    /// application's: a `change` to them is undone.
    pub fn set_registers(&mut self, change: impl FnOnce(&mut Registers)) {
        self.switch.save_segments();
        let registers = self.switch.registers();
        let kept = registers.clone();
        change(registers);
        registers.keep_protected(&kept);
    }

    /// Copies guest-physical memory.
    ///
    /// # Errors
    /// When not all of it is RAM; nothing is copied.
    pub fn read_memory(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        self.lguest.memory().read(at, into)
    }

    /// Changes guest-physical memory.
    ///
    /// # Errors
    /// When not all of it is RAM; nothing is written.
    pub fn write_memory(&mut self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        self.lguest.memory().write(at, from)
    }

    /// Raises virtual interrupt `irq`, 0 (the timer's) to 31.
    ///
    /// # Errors
    /// When there is no such interrupt.
    pub fn raise(&mut self, irq: u32) -> Result<(), BadIrq> {
        self.lguest.raise(irq)
    }

    /// Delivers a trap to the guest's own handler for `vector`.
    ///
    /// # Errors
    /// When the guest has none; it is none the worse. A guest that has ended has no handlers: what a
    /// frame for it might run into must not become the reason why it ended (LG-176).
    pub fn inject_trap(&mut self, vector: u8) -> Result<(), NoHandler> {
        if self.ended.is_some() {
            return Err(NoHandler(vector));
        }
        self.lguest
            .inject(self.switch.registers(), vector)
            .unwrap_or_else(|end| {
                self.end(end);
                Ok(())
            })
    }

    /// A handle that makes [`Guest::run`] return, from any context.
    pub fn kicker(&self) -> Kicker {
        Kicker { _private: () }
    }

    /// Kicks the guest once, when `time` has passed from now on, a time slice of 10 ms later at most. Replaces what was
    /// asked for before.
    pub fn kick_after(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.kick_at = Some(self.clocks.now().after(nanos));
    }

    /// Due whenever a time slice ends: no guest runs on without one.
    fn kick_if_due(&mut self) {
        if self.kick_at.is_some_and(|due| due <= self.clocks.now()) {
            self.kick_at = None;
            self.kicker().kick();
        }
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics<'_> {
        Statistics {
            guest: self.lguest.counters(),
            shadow: self.lguest.mmu().statistics(),
            host_interrupts: self.host_interrupts,
            direct_syscalls: self.switch.direct_syscalls(),
            nmis: self.switch.nmi_count(),
            machine_checks: self.switch.machine_check_count(),
        }
    }
}

fn exit_of(end: End) -> Exit {
    match end {
        End::PowerOff(message) => Exit::PowerOff(message),
        End::Restart(message) => Exit::Restart(message),
        End::Killed(kill) => Exit::Killed(kill),
    }
}

fn log_violation(slot: u8, violation: &Violation) {
    hv_hw::log_warn!(
        "device in slot {=u8}: {}",
        slot,
        defmt::Display2Format(violation),
    );
}

fn log_left_out(lines: u64) {
    hv_hw::log_warn!("{=u64} lines about broken devices left out", lines);
}

fn log_machine_checks(count: u64) {
    hv_hw::log_warn!("machine checks survived so far: {=u64}", count);
}
