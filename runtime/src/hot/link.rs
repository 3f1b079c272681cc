//! Links that carry a virtual MAC: up while it is ours, down otherwise, so that a backup never speaks with it.

use std::io;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use super::HotError;
use super::message::u32_at;
use super::netlink::Netlink;

/// How long a link may take until it carries frames: it takes its parent's carrier over at once, and what waits for it
/// is the VRRP thread.
const OPERATIVE: Duration = Duration::from_millis(50);

/// The long-lived socket for links.
#[derive(Debug)]
pub struct Links {
    netlink: Netlink,
}

impl Links {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Links> {
        Ok(Links { netlink: Netlink::open(netlink_sys::protocols::NETLINK_ROUTE)? })
    }

    /// Sets a link up and waits until it carries frames. Idempotent.
    ///
    /// # Errors
    /// The kernel's refusal, or that it is not operative in time.
    pub fn raise(&mut self, index: u32) -> Result<(), HotError> {
        let running = |flags: u32| flags as i32 & libc::IFF_UP != 0 && flags as i32 & libc::IFF_RUNNING != 0;
        let failed = |source| HotError::socket("setting up the link of the virtual MAC", source);
        if running(self.flags(index).map_err(failed)?) {
            return Ok(());
        }
        self.set(index, libc::IFF_UP).map_err(failed)?;
        let end = Instant::now() + OPERATIVE;
        while !running(self.flags(index).map_err(failed)?) {
            if Instant::now() > end {
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it has no carrier")));
            }
            poll(&mut [], PollTimeout::from(1u8)).map_err(|e| failed(e.into()))?;
        }
        Ok(())
    }

    /// Sets a link down; one that is gone is down.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn lower(&mut self, index: u32) -> Result<(), HotError> {
        match self.set(index, 0) {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other.map_err(|e| HotError::socket("setting down the link of the virtual MAC", e)),
        }
    }

    fn set(&mut self, index: u32, up: i32) -> io::Result<()> {
        let mut batch = self.netlink.batch();
        batch.request(libc::RTM_NEWLINK, libc::NLM_F_ACK, |body| body.put(&header(index, up)));
        match self.netlink.each(&batch)?.into_iter().flatten().next() {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok(()),
        }
    }

    fn flags(&mut self, index: u32) -> io::Result<u32> {
        let mut batch = self.netlink.batch();
        batch.request(libc::RTM_GETLINK, 0, |body| body.put(&header(index, 0)));
        self.netlink.one(&batch, |m| u32_at(m.payload, 8))?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// `struct ifinfomsg`: of the flags only IFF_UP is changed.
fn header(index: u32, flags: i32) -> [u8; 16] {
    let mut header = [0; 16];
    let parts = [0u32.to_ne_bytes(), index.to_ne_bytes(), flags.to_ne_bytes(), libc::IFF_UP.to_ne_bytes()];
    header.iter_mut().zip(parts.iter().flatten()).for_each(|(to, from)| *to = *from);
    header
}
