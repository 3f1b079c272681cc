//! A timerfd on CLOCK_MONOTONIC: microseconds late where the runtime's own timers are milliseconds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use model::units::Moment;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A timer that is armed for one moment at a time.
#[derive(Debug)]
pub struct Timer {
    fd: TimerFd,
    armed: Option<Moment>,
}

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Timer { fd: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, armed: None })
    }

    /// Fires at this moment, at once where it is past; never for `None`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn arm(&mut self, at: Option<Moment>) -> io::Result<()> {
        if at == self.armed {
            return Ok(());
        }
        match at {
            None => self.fd.unset()?,
            // Zero would disarm it.
            Some(Moment(ns)) => {
                let when = TimeSpec::from_duration(Duration::from_nanos(ns.max(1)));
                self.fd.set(Expiration::OneShot(when), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
        }
        self.armed = at;
        Ok(())
    }

    /// What it was armed for, where that has come; it is then not armed any more.
    pub fn fired(&mut self, now: Moment) -> Option<Moment> {
        self.armed.take_if(|at| *at <= now)
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
