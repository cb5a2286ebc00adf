//! Virtual interrupts, the clock event, and what happens between exit and entry.

use super::data::{Data, Noirq};
use super::gates::Gate;
use super::{Changes, Lguest};
use crate::address::Gva;
use crate::clock::{Clock, Nanos};
use crate::device::{Devices, Work};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::{BadIrq, End, Mmu, Next};
use crate::registers::{Registers, eflags};
use hv_abi::lguest::{DeviceBus, FIRST_IRQ_VECTOR, IF, IRQS, data};

/// The timer's interrupt, as a mask.
const TIMER: u32 = 1 << 0;
/// How long an interrupt that could not be delivered waits at most until it is tried again, in
/// nanoseconds: guests before 4.4 enable interrupts, and all guests unmask them, without telling
/// (A24). One tick of a kernel with 1000 of them a second.
const RECHECK: u64 = 1_000_000;
/// Vector of the debug trap.
const DEBUG: u8 = 1;

/// What has to be looked at before the guest is entered. Usually nothing, which is one test on the way of every
/// entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Waiting(u8);

impl Waiting {
    /// Devices or the clock may have something for the guest.
    const DEVICES: Self = Self(1 << 0);
    /// An interrupt is pending.
    const INTERRUPT: Self = Self(1 << 1);
    /// An instruction that the host carried out ran under TF: its debug trap is due.
    const SINGLE_STEP: Self = Self(1 << 2);
    /// The guest sleeps in HALT.
    const WAKING: Self = Self(1 << 3);

    const fn contains(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    fn add(&mut self, what: Self) {
        self.0 |= what.0;
    }

    fn remove(&mut self, what: Self) {
        self.0 &= !what.0;
    }
}

/// What waits to be delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interrupts {
    waiting: Waiting,
    /// One bit an interrupt, raised and not delivered.
    pending: u32,
    /// When the timer's interrupt is to be raised.
    clock_event: Option<Nanos>,
    /// What the host last wrote to `irq_pending`.
    announced: u32,
}

impl Default for Interrupts {
    /// Of a guest that has not run yet.
    fn default() -> Self {
        Self {
            waiting: Waiting::DEVICES,
            pending: 0,
            clock_event: None,
            announced: 0,
        }
    }
}

impl Interrupts {
    /// Raises a device's interrupt; `irq` is below 32.
    pub(super) fn raise(&mut self, irq: u32) {
        self.add_pending(1_u32.wrapping_shl(irq));
    }

    fn add_pending(&mut self, irqs: u32) {
        self.pending |= irqs;
        if self.pending != 0 {
            self.waiting.add(Waiting::INTERRUPT);
        }
    }

    fn delivered(&mut self, irqs: u32) {
        self.pending &= !irqs;
        if self.pending == 0 {
            self.waiting.remove(Waiting::INTERRUPT);
        }
    }

    /// The guest has done something with a device.
    pub(super) fn note_work(&mut self, work: Work) {
        if work == Work::More {
            self.waiting.add(Waiting::DEVICES);
        }
    }

    /// The guest sleeps until something comes for it.
    pub(super) fn halt(&mut self) {
        self.waiting.add(Waiting::WAKING);
    }

    /// SET_CLOCKEVENT: one shot, `delta` nanoseconds from `now`; 0 cancels. The old one is replaced.
    pub(super) fn set_clock_event(&mut self, now: Nanos, delta: u32) {
        self.clock_event = if delta == 0 {
            None
        } else {
            Some(now.after(u64::from(delta)))
        };
    }

    /// The host carried out an instruction for the guest. The processor saw none, so under TF it
    /// would trap one instruction late.
    pub(super) fn note_single_step(&mut self, regs: &Registers) {
        if regs.eflags & eflags::TF != 0 {
            self.waiting.add(Waiting::SINGLE_STEP);
        }
    }

    fn raise_due_event(&mut self, clock: &impl Clock) {
        if self.clock_event.is_some_and(|due| due <= clock.now()) {
            self.clock_event = None;
            self.add_pending(TIMER);
        }
    }
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Raises interrupt `irq`. Raising it again before it is delivered changes nothing (LG-145).
    pub fn raise(&mut self, irq: u32) -> Result<(), BadIrq> {
        if irq >= IRQS {
            return Err(BadIrq(irq));
        }
        self.interrupts.raise(irq);
        Ok(())
    }

    /// An interrupt of the host's came: its timer or a device may have something for the guest.
    pub fn host_event(&mut self) {
        self.interrupts.note_work(Work::More);
        self.changes.add(Changes::CLOCK);
    }

    /// Whether devices have work left, so that a sleeping guest's host must not sleep.
    pub fn device_work(&self) -> Work {
        match self.interrupts.waiting.contains(Waiting::DEVICES) {
            true => Work::More,
            false => Work::Done,
        }
    }

    /// When the timer's interrupt is due.
    pub fn clock_event(&self) -> Option<Nanos> {
        self.interrupts.clock_event
    }

    /// Whether an interrupt waits for the guest to do something that it does not announce; then
    /// [`Lguest::deadline`] is nearer than the clock event.
    pub fn needs_recheck(&self) -> bool {
        self.interrupts.pending != 0
            && self.data.is_some()
            && !self.interrupts.waiting.contains(Waiting::WAKING)
    }

    /// When the host has to get in at the latest, even if the guest runs on.
    pub fn deadline(&self, now: Nanos) -> Option<Nanos> {
        // A sleeping guest changes neither its mask nor its flag.
        let recheck = self.needs_recheck().then(|| now.after(RECHECK));
        match (self.interrupts.clock_event, recheck) {
            (Some(event), Some(recheck)) => Some(event.min(recheck)),
            (event, recheck) => event.or(recheck),
        }
    }

    /// Everything between an exit and the next entry: devices, the clock, at most one interrupt,
    /// and flags that are safe to load. Call it before every entry, and again whenever a sleeping
    /// guest might have a reason to wake. Devices and the clock are looked at only after something
    /// happened to them: the guest used a port, or [`Lguest::host_event`].
    #[inline(always)]
    pub fn before_entry(&mut self, regs: &mut Registers, clock: &impl Clock) -> Result<Next, End> {
        let next = match self.interrupts.waiting.0 {
            0 => Next::Enter,
            _ => self.see_to_waiting(regs, clock)?,
        };
        regs.sanitise_eflags();
        Ok(next)
    }

    #[inline(never)]
    fn see_to_waiting(&mut self, regs: &mut Registers, clock: &impl Clock) -> Result<Next, End> {
        let mut next = Next::Enter;
        if self.interrupts.waiting.contains(Waiting::DEVICES) {
            if self.generation.devices == DeviceBus::Dma {
                self.feed_devices()?;
            }
            self.interrupts.waiting.remove(Waiting::DEVICES);
            let work = self.devices.poll(&self.memory);
            self.interrupts.note_work(work);
            (self.interrupts).add_pending(self.devices.take_interrupts() & !TIMER);
            self.interrupts.raise_due_event(clock);
            next = Next::Polled;
        }
        if self.interrupts.waiting.contains(Waiting::SINGLE_STEP) {
            self.deliver_single_step(regs)?;
        }
        if self.interrupts.pending != 0
            && let Some(shared) = self.data
        {
            self.consider_interrupt(regs, shared, clock)?;
        }
        if self.needs_recheck() {
            self.changes.add(Changes::CLOCK);
        }
        if self.interrupts.waiting.contains(Waiting::WAKING) {
            next = Next::Halt;
        }
        Ok(next)
    }

    fn deliver_single_step(&mut self, regs: &mut Registers) -> Result<(), Kill> {
        self.interrupts.waiting.remove(Waiting::SINGLE_STEP);
        // A debug trap ends `hlt` as any other event does.
        self.interrupts.waiting.remove(Waiting::WAKING);
        self.reflect_debug(regs)
    }

    /// #DB: the guest's DR6 says BS if it was a single step.
    pub(super) fn reflect_debug(&mut self, regs: &mut Registers) -> Result<(), Kill> {
        const SINGLE_STEP: u32 = 1 << 14;
        if regs.eflags & eflags::TF != 0 {
            self.debug_status |= SINGLE_STEP;
        }
        self.reflect(regs, DEBUG, None, 0)
    }

    /// One attempt to deliver (5.4). What the historical host got wrong is right here: the enable
    /// test looks at bit 9 alone, and `irq_pending` goes back to 0.
    fn consider_interrupt(
        &mut self,
        regs: &mut Registers,
        shared: Data,
        clock: &impl Clock,
    ) -> Result<(), Kill> {
        let blocked = self
            .memory
            .read_u32(shared.field(data::BLOCKED_INTERRUPTS))?;
        let candidates = self.interrupts.pending & !blocked;
        if candidates == 0 {
            return self.announce(shared, 0);
        }
        if let Noirq::Range { start, end } = shared.noirq
            && (start..end).contains(&regs.eip)
        {
            // The re-check finds the guest past its `iret` (LG-139).
            return Ok(());
        }
        if self.interrupts.waiting.contains(Waiting::WAKING) {
            self.interrupts.waiting.remove(Waiting::WAKING);
            // HALT means "enable and wait": without this the guest would sleep for ever.
            shared.set_irq_enabled(&self.memory, IF)?;
        } else if !shared.interrupts_enabled(&self.memory)? {
            return self.announce(shared, candidates);
        }
        // Before the handler can look: guests compare this with the time-stamp counter (A28).
        shared.write_time(&self.memory, clock.wall())?;
        let lowest = candidates & candidates.wrapping_neg();
        let irq = lowest.trailing_zeros() as u8;
        let Some(gate) = self.gates.get(FIRST_IRQ_VECTOR.wrapping_add(irq)) else {
            return self.announce(shared, candidates & !lowest);
        };
        self.deliver(regs, shared, gate)?;
        self.interrupts.delivered(lowest);
        self.counters.interrupts = self.counters.interrupts.wrapping_add(1);
        self.announce(shared, candidates & !lowest)
    }

    fn deliver(&mut self, regs: &mut Registers, shared: Data, gate: Gate) -> Result<(), Kill> {
        if shared.noirq == Noirq::Iret(regs.eip) && regs.privilege_level() == 1 {
            self.fold_iret(regs)?;
        } else {
            self.push_frame(regs, shared, None)?;
        }
        self.enter_handler(regs, shared, gate)
    }

    /// The guest is about to `iret` with interrupts already on. The frame that it would pop is the
    /// frame that the interrupt needs, so the `iret` is carried out as far as its flags and the
    /// interrupt taken on top (4.3). The flags are the guest's own word; the entry sanitises them.
    fn fold_iret(&mut self, regs: &mut Registers) -> Result<(), Kill> {
        const FLAGS_IN_FRAME: u32 = 8;
        let base = self.stack_base(regs.ss, regs)?;
        let at = base.wrapping_add(regs.esp).wrapping_add(FLAGS_IN_FRAME);
        regs.eflags = self.read_stack(Gva::new(at))?;
        Ok(())
    }

    /// Tells the guest, in `irq_pending`, whether `waiting` interrupts want it to call when it
    /// enables interrupts. Guests before 2.6.31 do not ask.
    fn announce(&mut self, shared: Data, waiting: u32) -> Result<(), Kill> {
        let Some(irq_pending) = self.generation.data.irq_pending else {
            return Ok(());
        };
        let word = if waiting == 0 { 0 } else { IF };
        // Nothing to take back is the usual case. A wish is repeated: the guest may have cleared it.
        if word != 0 || self.interrupts.announced != 0 {
            self.interrupts.announced = word;
            self.memory.write_u32(shared.field(irq_pending), word)?;
        }
        Ok(())
    }
}
