//! Lines on the console.

/// Prints a line on COM1.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use core::fmt::Write as _;
        // The port takes what it is given.
        let _ = writeln!(hv_hw::uart::Uart::com1(), $($arguments)*);
    }};
}
pub(crate) use say;
