//! From the command line to a running daemon.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caps::{CapSet, Capability};
use sd_notify::NotifyState;
use tokio::sync::mpsc;

use super::converge::{Job, Look, Machine, Outcome, Tried, Turns};
use super::drains::Drains;
use super::fights::Fights;
use super::flaps::Flaps;
use super::restart::Handover;
use super::setup::{Setup, setup};
use super::signals::Signals;
use super::state::State;
use super::sysctls::Sysctls;
use super::tell::{Out, Said};
use super::turn::{Daemon, Inputs};
use super::{Options, RunError};
use crate::check::Watches;
use crate::control::{self, Asked, BindError};
use crate::driver::{self, DriverHandle, DriverStatus, Heritage};
use crate::kernel::KernelError;
use crate::memory;
use crate::notify::{Groups, Notifier};

/// Events of the VRRP thread that may wait: 255 vips changing their state together, several times over.
pub(super) const EVENTS: usize = 4096;

/// Findings of watches that may wait; a watch waits for room.
const FINDINGS: usize = 256;

/// Requests over the control socket that may wait.
const REQUESTS: usize = 16;

/// Runs until a signal asks for the end.
///
/// # Errors
/// Why it could not start, or what ended it.
pub fn run(options: Options) -> Result<(), RunError> {
    let program = std::env::current_exe().unwrap_or_default();
    let handover = Handover::take(&options.state);
    let able = setup(options.file.as_deref(), options.node.as_deref()).map_err(RunError::from);
    let able = able.and_then(|setup| permitted().map(|()| setup));
    let setup = able.inspect_err(|_| handover.iter().for_each(Handover::abandon))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| RunError::System { what: "start", source })?;
    let ended = runtime.block_on(serve((options, program), setup, handover));
    // A program or a disk that hangs is not waited for.
    runtime.shutdown_background();
    ended
}

fn permitted() -> Result<(), RunError> {
    let needed = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
    let missing: Vec<String> = needed
        .into_iter()
        .filter(|c| !caps::has_cap(None, CapSet::Effective, *c).unwrap_or(false))
        .map(|c| c.to_string())
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(RunError::NotPermitted { missing: missing.join(" and ") }),
    }
}

async fn serve(
    (options, program): (Options, PathBuf),
    setup: Setup,
    handover: Option<Handover>,
) -> Result<(), RunError> {
    let mut signals = Signals::listen()?;
    let mut state = State::new();
    let (asked_sender, mut asked) = mpsc::channel(REQUESTS);
    reachable(&options, &mut state, asked_sender)?;
    let mut machine = Machine::new(&options.state);
    let (drains, said) = Drains::load(&options.state);
    if let Some(said) = said {
        warn(&mut state, &said);
    }
    let done = match &handover {
        Some(handover) => {
            state.resume(handover);
            vec![]
        }
        None => first(&mut machine, &setup, &mut state)?,
    };
    let saved = handover.map(|handover| handover.router);
    let heritage = Heritage { drained: drains.names(), saved: saved.clone() };
    let (events_sender, mut events) = mpsc::channel(EVENTS);
    memory::give_back();
    let driver =
        driver::start(setup.driver.clone(), heritage, events_sender).inspect_err(|_| take_back(&mut machine, &done))?;
    if done.iter().any(Tried::loaded) {
        // A thread that is gone already says so by the end of its events.
        let _ = driver.send(driver::Command::TableLoaded);
    }
    let (findings_sender, mut findings) = mpsc::channel(FINDINGS);
    let notifier = notifier();
    let given = Given { options, program, setup, state, driver, machine, notifier, drains };
    let mut daemon = given.daemon(Watches::new(findings_sender));
    daemon.begin();
    if let Some(saved) = saved {
        daemon.goes_on(&saved);
    }
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    daemon.say(&Said::Ready { peer: daemon.setup.desired.peer.clone() });
    let inputs = Inputs { signals: &mut signals, asked: &mut asked, events: &mut events, findings: &mut findings };
    daemon.serve(inputs).await
}

/// Programs are told of changes by a task of their own.
fn notifier() -> Notifier {
    let notifier = Notifier::default();
    tokio::spawn({
        let notifier = notifier.clone();
        async move { notifier.work().await }
    });
    notifier
}

/// What a start has brought together.
struct Given {
    options: Options,
    program: PathBuf,
    setup: Setup,
    state: State,
    driver: DriverHandle,
    machine: Machine,
    notifier: Notifier,
    drains: Drains,
}

impl Given {
    /// Nothing has happened yet.
    fn daemon(self, watches: Watches) -> Daemon {
        Daemon {
            out: Out::new(self.options.json),
            setup: self.setup,
            state: self.state,
            driver: self.driver,
            machine: Arc::new(Mutex::new(self.machine)),
            watches,
            sysctls: Sysctls::new(),
            notifier: self.notifier,
            groups: Groups::default(),
            fights: Fights::default(),
            lost: Fights::default(),
            flaps: Flaps::default(),
            mastered: BTreeSet::new(),
            fighting: false,
            retry: Duration::ZERO,
            turns: Turns::default(),
            work: None,
            wanted: None,
            not_before: None,
            drains: self.drains,
            stopping: None,
            program: self.program,
            directory: self.options.state,
            resumed: None,
        }
    }
}

/// Makes this process the one run of this machine, and one that can be asked.
///
/// # Errors
/// Where another one is.
fn reachable(options: &Options, state: &mut State, asked_sender: mpsc::Sender<Asked>) -> Result<(), RunError> {
    match control::bind(&options.state) {
        Ok(bound) => drop(tokio::spawn(async move { control::serve(&bound, asked_sender).await })),
        Err(e @ (BindError::Running { .. } | BindError::Elsewhere { .. })) => return Err(e.into()),
        // Holding addresses needs no disk; being asked about it does.
        Err(e @ BindError::Io { .. }) => {
            let what = format!("no control socket, so status, plan and apply cannot ask this run: {e}");
            tracing::error!("{what}");
            state.warn(&what);
        }
    }
    if let Some(sole) = control::sole()? {
        tokio::spawn(sole.hang_up());
    }
    Ok(())
}

/// The plan at start, performed: what was tried.
///
/// # Errors
/// Where services' rules cannot be loaded: a master without them would draw connections and drop them. Then the machine
/// is as it was before.
fn first(machine: &mut Machine, setup: &Setup, state: &mut State) -> Result<Vec<Tried>, RunError> {
    // At once and in batches: until they are gone, what a killed run left answers beside the new master. The plan, step
    // by step, takes seconds for a thousand.
    if let Err(e) = driver::release_leftovers(&setup.driver) {
        tracing::warn!("{e}");
    }
    let live = state.live(setup, &DriverStatus::default());
    let job = Job {
        desired: Arc::clone(&setup.desired),
        live,
        turns: Turns::default(),
        look: Look::All,
        hands_off: BTreeSet::new(),
    };
    let tried = match machine.converge(&job) {
        Outcome::Tried(tried, notes) => {
            state.noted(&notes).iter().for_each(|line| tracing::warn!("{line}"));
            tried
        }
        Outcome::Blind(e @ (KernelError::NoProgram { .. } | KernelError::NotPermitted { .. })) => return Err(e.into()),
        Outcome::Blind(e) => {
            warn(state, &format!("the machine cannot be compared with the file: {e}"));
            return Ok(vec![]);
        }
        Outcome::Busy => {
            warn(state, "an apply is at work; the machine is compared with the file when it has ended");
            return Ok(vec![]);
        }
    };
    if let Some(e) = tried.iter().filter(|t| t.loads()).find_map(|t| t.error.clone()) {
        take_back(machine, &tried);
        return Err(e.into());
    }
    for step in tried.iter().filter(|t| t.error.is_none()) {
        tracing::info!("{} {}", step.step.object, step.step.what);
    }
    state.tried(Look::All, &tried).iter().for_each(|what| tracing::warn!("{what}"));
    Ok(tried)
}

fn warn(state: &mut State, what: &str) {
    tracing::warn!("{what}");
    state.warn(what);
}

/// A start that fails leaves nothing.
fn take_back(machine: &mut Machine, tried: &[Tried]) {
    for (object, why) in machine.take_back(tried) {
        tracing::error!("{object} was not taken back: {why}; hactl destroy does");
    }
}
