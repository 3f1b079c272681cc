//! The VRRP thread: a thread of its own around a [`model::vrrp::Router`], with commands in and events out by channel.
//!
//! Nothing that can wait on people, disks or programs runs here. The events' channel is bounded and never waited for:
//! what does not fit is dropped and counted ([`DriverStatus::events_dropped`]).

mod hands;
mod pace;
mod timer;
mod turn;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use model::units::{InterfaceName, Moment};
use model::vrrp::{self, Saved, VipStatus};
use tokio::sync::{mpsc, oneshot};

/// What may wait for the VRRP thread at most. Commands are rare (checks, slots, reloads): a full queue means that the
/// thread hangs, and the sender is told instead of waiting.
pub const COMMANDS: usize = 1024;

/// How long a handle that is dropped waits for the thread's end: handing over takes milliseconds.
const END: Duration = Duration::from_secs(1);

/// What the VRRP thread works on.
#[derive(Debug, Clone, Default)]
pub struct DriverSettings {
    /// One for each vip of this machine.
    pub routers: Vec<vrrp::Settings>,
    /// Addresses of the vips that carry a service: those in our table's set `vips`. For these the gate (set `active`)
    /// is opened and closed and connection tracking forgotten; for all others neither is touched.
    pub gated: BTreeSet<Ipv4Addr>,
}

/// What the VRRP thread takes over from one before it.
#[derive(Debug, Clone, Default)]
pub struct Heritage {
    /// Vips, by name, that are left to others.
    pub drained: BTreeSet<String>,
    /// What a thread of an earlier process was at: it goes on from there, and the addresses held stay.
    pub saved: Option<Saved>,
}

/// What the VRRP thread can be told.
#[derive(Debug)]
pub enum Command {
    /// A valid new configuration: vips that did not change are not touched. Load the new table first: the gate of the
    /// addresses held is set anew as part of this.
    Reload(DriverSettings),
    /// A tracked check changed its state (after rise and fall), or has its first result.
    Check {
        /// Its name.
        name: String,
        /// Whether it is up.
        up: bool,
    },
    /// The number in a tracked file.
    Weight {
        /// The check's name.
        name: String,
        /// The number, -254 to 254.
        weight: i16,
    },
    /// All slots of a service's map, in one transaction without a gap.
    Slots {
        /// The map's name in table `ip hactl`.
        map: String,
        /// Backend of slot 0, 1, 2…
        slots: Vec<SocketAddrV4>,
        /// Backends that left: their established connections are forgotten, so that clients are reset and reconnect.
        gone: Vec<SocketAddrV4>,
    },
    /// Our table was loaded: its set `active` is filled again with what is held.
    TableLoaded,
    /// Answer with the state of everything. [`DriverHandle::query`] sends it.
    Query(oneshot::Sender<DriverStatus>),
    /// The vips, by name, that are to be left to others from now on.
    Drain(BTreeSet<String>),
    /// Be master of this vip no longer, once.
    StepDown(String),
    /// End the thread and let everything stand as it does, for another one to go on with; answered with what that needs.
    /// Refused, with `None`, while a vip is being handed over: that takes seconds at most. Without [`DriverEvent::Stopped`].
    Suspend(oneshot::Sender<Option<Saved>>),
    /// Hand over and end the thread: priority 0, and the addresses are released when a successor has announced them or
    /// none has followed; [`DriverEvent::Stopped`] is the last event. Sent again, everything is released at once.
    Stop,
}

/// What the VRRP thread tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverEvent {
    /// The router's own.
    Router {
        /// When it happened (CLOCK_MONOTONIC).
        at: Moment,
        /// What.
        event: vrrp::Event,
    },
    /// Somebody else than the VRRP thread changed table `ip hactl`: a foreign hand or our own `nft`. Observe and plan
    /// again; an empty plan means it was ours.
    TableTouched {
        /// When it was noticed (CLOCK_MONOTONIC).
        at: Moment,
        /// Whether the table itself is gone (`nft flush ruleset`, `nft delete table`).
        removed: bool,
        /// Program and process that did it, `nft (pid 812)`, where the kernel said so.
        by: Option<String>,
    },
    /// A slot edit or the gate failed: what and the kernel's words. Observe and plan again.
    TableFailed {
        /// When (CLOCK_MONOTONIC).
        at: Moment,
        /// For people.
        what: String,
    },
    /// The thread has handed over and ends.
    Stopped,
}

/// The VRRP thread as `status` shows it.
#[derive(Debug, Clone, Default)]
pub struct DriverStatus {
    /// When this was taken (CLOCK_MONOTONIC).
    pub now: Moment,
    /// Each vip.
    pub vips: Vec<VipStatus>,
    /// Latest wake-up after its deadline since the start.
    pub max_lateness: Duration,
    /// Whether the thread runs with SCHED_FIFO.
    pub realtime: bool,
    /// Events dropped because nobody took them.
    pub events_dropped: u64,
    /// Packets of protocol 112 that the kernel dropped because the socket's buffer was full.
    pub packets_overrun: u64,
    /// Packets dropped because they were for no virtual router of this machine: interface, cause, how many.
    pub strangers: BTreeMap<InterfaceName, BTreeMap<String, u64>>,
}

/// Why the VRRP thread could not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A socket or timer could not be opened.
    #[error("cannot {what}: {source}")]
    Open {
        /// What was tried: `open a raw socket for VRRP`.
        what: &'static str,
        /// The kernel's words.
        source: std::io::Error,
    },
    /// What a killed run left could not be released.
    #[error("cannot release what an earlier run left: {0}")]
    Leftovers(String),
    /// The thread panicked: release the addresses with [`release_leftovers`] and end.
    #[error("the VRRP thread failed: {0}")]
    Panicked(String),
}

/// The VRRP thread has ended (or hangs, where its queue is full).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the VRRP thread does not answer")]
pub struct Gone;

/// The running VRRP thread. Where it is dropped, by a panic as a rule, the thread hands over and ends as if told to
/// stop: addresses that nobody looks after would answer beside the next master.
#[derive(Debug)]
pub struct DriverHandle {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<thread::JoinHandle<Result<(), DriverError>>>,
}

impl DriverHandle {
    /// Hands a command over without waiting.
    ///
    /// # Errors
    /// [`Gone`] where the thread has ended or more than [`COMMANDS`] wait.
    pub fn send(&self, command: Command) -> Result<(), Gone> {
        self.commands.as_ref().ok_or(Gone)?.try_send(command).map_err(|_| Gone)
    }

    /// Asks for the state of everything; `.await` the answer, or `.blocking_recv()` it outside of tokio.
    ///
    /// # Errors
    /// As [`DriverHandle::send`].
    pub fn query(&self) -> Result<oneshot::Receiver<DriverStatus>, Gone> {
        let (tx, rx) = oneshot::channel();
        self.send(Command::Query(tx))?;
        Ok(rx)
    }

    /// Waits (blocking) for the thread's end and says how it ended.
    ///
    /// # Errors
    /// [`DriverError::Panicked`] where it did.
    pub fn join(mut self) -> Result<(), DriverError> {
        self.commands = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| Err(DriverError::Panicked(words(panic.as_ref()))))
    }
}

impl Drop for DriverHandle {
    fn drop(&mut self) {
        self.commands = None;
        let end = Instant::now() + END;
        while self.thread.as_ref().is_some_and(|t| !t.is_finished()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts the VRRP thread in the caller's network namespace. Leftovers of a killed run (marked addresses of these vips)
/// are released first. `events` should hold at least some hundreds: it is never waited for.
///
/// # Errors
/// Says which socket could not be opened; nothing runs then.
pub fn start(
    settings: DriverSettings,
    heritage: Heritage,
    events: mpsc::Sender<DriverEvent>,
) -> Result<DriverHandle, DriverError> {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let driver = turn::Driver::open((settings, heritage), events, inbox)?;
    let thread = thread::Builder::new()
        .name("vrrp".into())
        .spawn(move || driver.run())
        .map_err(|source| DriverError::Open { what: "start the VRRP thread", source })?;
    Ok(DriverHandle { commands: Some(commands), thread: Some(thread) })
}

/// Releases what a VRRP thread that panicked may have left: deletes the vips' addresses that carry our mark and closes
/// their gate.
///
/// # Errors
/// What could not be deleted.
pub fn release_leftovers(settings: &DriverSettings) -> Result<(), DriverError> {
    // Opening a driver releases them.
    let (_commands, inbox) = mpsc::channel(1);
    let (events, _nobody) = mpsc::channel(1);
    turn::Driver::open((settings.clone(), Heritage::default()), events, inbox).map(drop)
}

/// Releases what a thread was master of that nobody goes on for.
///
/// # Errors
/// What could not be deleted.
pub fn abandon(saved: &Saved) -> Result<(), DriverError> {
    turn::abandon(saved)
}

/// A panic's message, where it has one.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests;
