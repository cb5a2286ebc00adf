//! One virtio device on the bus: what of its configuration space can change, and its BAR.

use super::Lane;
use super::config_space::{
    BAR0, CACHE_LINE_AND_LATENCY, WINDOW_BAR, WINDOW_DATA, WINDOW_LENGTH, WINDOW_OFFSET, constant,
};
use crate::address::Gpa;
use crate::device::virtio::transport::Transport;
use crate::device::virtio::{Violation, VirtioDevice};
use crate::device::{Width, Work};
use crate::memory::GuestMemory;

/// What BAR0 reads as. The device itself does not move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bar {
    /// Its address.
    Address,
    /// Ones where the address can vary: a guest has written all ones to learn the size.
    Size,
}

/// The access window's registers, as the guest wrote them.
#[derive(Clone, Copy, Default, Debug)]
struct Window {
    bar: u32,
    offset: u32,
    length: u32,
}

/// A device in its slot.
#[derive(Debug)]
pub(super) struct Function<M> {
    transport: Transport<M>,
    address: u32,
    size: u32,
    line: u8,
    bar: Bar,
    /// Has no meaning here, but some kernels write and check it.
    cache_line_and_latency: u32,
    window: Window,
}

impl<M: VirtioDevice> Function<M> {
    /// `model` with its registers at the first address from `from` on that its size is aligned to;
    /// `None` when that is past 4 GiB.
    pub(super) fn new(model: M, from: u64, line: u8) -> Option<Self> {
        let transport = Transport::new(model);
        let size = transport.register_size().checked_next_power_of_two()?;
        let address = u32::try_from(from).ok()?.checked_next_multiple_of(size)?;
        address.checked_add(size)?;
        Some(Self {
            transport,
            address,
            size,
            line,
            bar: Bar::Address,
            cache_line_and_latency: 0,
            window: Window::default(),
        })
    }

    pub(super) fn into_model(self) -> M {
        self.transport.into_model()
    }

    /// First address past the BAR.
    pub(super) fn bar_end(&self) -> u64 {
        u64::from(self.address).saturating_add(self.size.into())
    }

    /// Offset in the BAR of an access that lies wholly inside it.
    pub(super) fn bar_offset(&self, at: Gpa, width: Width) -> Option<u32> {
        let offset = u32::try_from(at.raw()).ok()?.checked_sub(self.address)?;
        (offset.checked_add(width.bytes())? <= self.size).then_some(offset)
    }

    pub(super) fn register_read(&mut self, offset: u32, width: Width) -> u32 {
        self.transport.read(offset, width)
    }

    pub(super) fn register_write(
        &mut self,
        memory: &impl GuestMemory,
        offset: u32,
        width: Width,
        value: u32,
    ) {
        self.transport.write(memory, offset, width, value);
    }

    /// The device, if it is a console.
    pub(super) fn as_console(&mut self) -> Option<&mut M> {
        let model = self.transport.model_mut();
        model.identity().is_console().then_some(model)
    }

    pub(super) fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        self.transport.poll(memory)
    }

    /// The device's interrupt bit, when it asked for its interrupt since the last call.
    pub(super) fn take_interrupt(&mut self) -> u32 {
        if self.transport.take_interrupt() {
            1_u32.wrapping_shl(self.line.into())
        } else {
            0
        }
    }

    pub(super) fn take_violation(&mut self) -> Option<(u8, Violation)> {
        self.transport
            .take_violation()
            .map(|violation| (self.line, violation))
    }

    /// The register at `register`, a multiple of four.
    pub(super) fn config_read(&mut self, register: u8) -> u32 {
        match register {
            CACHE_LINE_AND_LATENCY => self.cache_line_and_latency,
            BAR0 => match self.bar {
                Bar::Address => self.address,
                Bar::Size => self.size.wrapping_neg(),
            },
            WINDOW_BAR => self.window.bar,
            WINDOW_OFFSET => self.window.offset,
            WINDOW_LENGTH => self.window.length,
            WINDOW_DATA => match self.window_access() {
                Some(width) => self.transport.read(self.window.offset, width),
                None => Width::Dword.ones(),
            },
            _ => constant(register, self.transport.identity(), self.line)
                .unwrap_or(Width::Dword.ones()),
        }
    }

    /// Writes the bytes in `lane` of the register at `register`.
    pub(super) fn config_write(
        &mut self,
        memory: &impl GuestMemory,
        register: u8,
        lane: Lane,
        value: u32,
    ) {
        match register {
            // The upper half, header type and self-test, is read-only.
            CACHE_LINE_AND_LATENCY => {
                self.cache_line_and_latency =
                    lane.replace(self.cache_line_and_latency, value) & 0xffff;
            }
            BAR0 => {
                let sizing = lane.width == Width::Dword && value == Width::Dword.ones();
                self.bar = if sizing { Bar::Size } else { Bar::Address };
            }
            WINDOW_BAR => self.window.bar = lane.replace(self.window.bar, value) & 0xff,
            WINDOW_OFFSET => self.window.offset = lane.replace(self.window.offset, value),
            WINDOW_LENGTH => self.window.length = lane.replace(self.window.length, value),
            WINDOW_DATA => {
                if let Some(width) = self.window_access() {
                    let value = lane.replace(0, value);
                    self.transport
                        .write(memory, self.window.offset, width, value);
                }
            }
            _ => {}
        }
    }

    /// The width of the access that the window's registers describe; it counts, not the width of
    /// the port. `None` when they describe none within the BAR (4.1.4.7.1).
    fn window_access(&self) -> Option<Width> {
        let width = match self.window.length {
            1 => Width::Byte,
            2 => Width::Word,
            4 => Width::Dword,
            _ => return None,
        };
        let inside = self.window.offset.checked_add(width.bytes())? <= self.size;
        (self.window.bar == 0 && inside).then_some(width)
    }
}
