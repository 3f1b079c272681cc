//! The daemon's loop: whatever happens next, handled.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::plan::Note;
use model::units::Moment;
use model::vrrp::{Event, VipState, handover_limit};
use sd_notify::NotifyState;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::RunError;
use super::converge::{Job, Look, Machine, Outcome, Tried, Turns};
use super::drains::Drains;
use super::fights::Fights;
use super::flaps::Flaps;
use super::setup::Setup;
use super::signals::Signals;
use super::state::State;
use super::sysctls::Sysctls;
use super::tell::{self, Out, Said};
use crate::check::{Finding, Watches};
use crate::clock;
use crate::control::Asked;
use crate::driver::{self, Command, DriverEvent, DriverHandle, DriverStatus};
use crate::notify::{Change, Groups, Notifier};

/// The slow look: for what no event tells of (a second mount of proc, a lost message).
const LOOK: Duration = Duration::from_secs(60);

/// How long after a look that found nothing the next one waits, unless something is known to be lost: our own changes
/// are reported to us, too.
const SETTLE: Duration = Duration::from_millis(100);

/// How soon a look is tried again while an `apply` is at work, or after one that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the VRRP thread may take to answer; it takes microseconds.
pub(super) const ANSWER: Duration = Duration::from_secs(1);

/// How long the VRRP thread may take beyond its own limit for handing over before the process ends anyway.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How long notify programs may still take then.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where things come in.
pub(super) struct Inputs<'a> {
    pub signals: &'a mut Signals,
    pub asked: &'a mut Receiver<Asked>,
    pub events: &'a mut Receiver<DriverEvent>,
    pub findings: &'a mut Receiver<Finding>,
}

/// Why the machine is to be looked at.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    /// When it was noticed.
    pub at: Moment,
    /// Who did it, where that is known.
    pub by: Option<String>,
    /// Something is known to be lost: nothing but a fight puts the look off.
    pub urgent: bool,
    /// What is to be looked at.
    pub look: Look,
}

impl Cause {
    /// No more than a reason to look.
    pub fn hint(by: Option<String>) -> Self {
        Cause { at: clock::now(), by, urgent: false, look: Look::All }
    }
}

/// A running daemon.
pub(super) struct Daemon {
    pub setup: Setup,
    pub state: State,
    pub driver: DriverHandle,
    pub machine: Arc<Mutex<Machine>>,
    pub watches: Watches,
    pub sysctls: Sysctls,
    pub notifier: Notifier,
    pub groups: Groups,
    pub out: Out,
    pub fights: Fights,
    /// What the VRRP thread put back of late.
    pub lost: Fights,
    /// What turned of late.
    pub flaps: Flaps,
    /// Vips that this machine is master of, as the last events said.
    pub mastered: BTreeSet<String>,
    /// Somebody undoes again and again what is put right.
    pub fighting: bool,
    /// How long the last step that failed waits for the next try.
    pub retry: Duration,
    /// Of backends, since the start.
    pub turns: Turns,
    /// The look at the machine that is under way.
    pub work: Option<(Cause, JoinHandle<Outcome>)>,
    /// The next one.
    pub wanted: Option<Cause>,
    /// When it may begin.
    pub not_before: Option<Instant>,
    /// What is left to others at somebody's wish.
    pub drains: Drains,
    /// It was asked to end, and ends then at the latest.
    pub stopping: Option<Instant>,
    /// The program that runs, as it stood on disk when it started.
    pub program: PathBuf,
    /// Of the control socket, the lock and the record.
    pub directory: PathBuf,
    /// When this program went on where another one was.
    pub resumed: Option<Moment>,
}

pub(super) enum Next {
    On,
    Stop,
    /// Become the program on disk.
    Restart,
    DriverEnded,
}

impl Daemon {
    /// Starts what the setup asks for.
    pub fn begin(&mut self) {
        self.watches.resume(self.setup.watches.clone(), &self.state.healths);
        self.sysctls.watch(self.setup.desired.sysctls.keys());
    }

    /// A line of our own on standard output.
    pub fn say(&self, said: &Said) {
        self.out.tell(clock::now(), said);
    }

    /// Something that needs a person's eye.
    pub fn trouble(&mut self, what: &str) {
        tracing::warn!("{what}");
        self.state.warn(what);
        self.say(&Said::Trouble { what: what.to_owned() });
    }

    /// Handles what happens until the end.
    pub async fn serve(mut self, inputs: Inputs<'_>) -> Result<(), RunError> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let mut alive = interval(watchdog.unwrap_or(LOOK).max(Duration::from_millis(1)));
        loop {
            let due = self.due();
            let (drained_until, drains) = (self.drained_until(), self.drains.deadline().is_some());
            let flapped = self.flaps.due().map(|at| at.since(clock::now()));
            let next = tokio::select! {
                // In the order of haste, so that noise of one kind never starves what matters more.
                biased;
                () = inputs.signals.end.asked() => Next::Stop,
                event = inputs.events.recv() => self.event(event),
                outcome = ended(&mut self.work) => self.tried(outcome),
                () = sleep_until(self.stopping.unwrap_or_else(Instant::now)), if self.stopping.is_some() => {
                    return self.overstayed();
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.look().await,
                Some(finding) = inputs.findings.recv() => self.found(finding),
                () = self.sysctls.written() => self.want(Cause { urgent: true, look: Look::Sysctls, ..Cause::hint(None) }),
                Some(asked) = inputs.asked.recv() => inputs.signals.end.or(self.answer(asked)).await,
                _ = inputs.signals.hangup.recv() => inputs.signals.end.or(self.hang_up()).await,
                () = sleep(flapped.unwrap_or_default()), if flapped.is_some() => self.flapped(),
                _ = inputs.signals.restart.recv() => inputs.signals.end.or(self.asked_to_restart()).await,
                _ = looks.tick() => self.want(Cause::hint(None)),
                () = sleep_until(drained_until), if drains => self.undrain_expired(),
                _ = alive.tick() => self.alive(watchdog.is_some()).await,
            };
            match next {
                Next::On => {}
                Next::Stop => self.stop(),
                Next::Restart => self.become_next(inputs.events).await?,
                Next::DriverEnded if self.stopping.is_some() => return self.stopped().await,
                Next::DriverEnded => return self.driver_ended().await,
            }
        }
    }

    /// When the wanted look begins; `None` where none is wanted or one is under way.
    fn due(&self) -> Option<Instant> {
        match (&self.work, &self.wanted) {
            (None, Some(cause)) if cause.urgent && !self.fighting => Some(Instant::now()),
            (None, Some(_)) => Some(self.not_before.unwrap_or_else(Instant::now)),
            _ => None,
        }
    }

    fn want(&mut self, cause: Cause) -> Next {
        // The time to put right is counted from the first loss; a hint may be the report of our own change.
        match &mut self.wanted {
            Some(waiting) => {
                let look = if waiting.look == cause.look { cause.look } else { Look::All };
                if cause.urgent && !waiting.urgent {
                    *waiting = cause;
                } else {
                    waiting.by = waiting.by.take().or(cause.by);
                }
                waiting.look = look;
            }
            None => self.wanted = Some(cause),
        }
        Next::On
    }

    /// The state of the VRRP thread; as if it held nothing where it does not answer.
    pub async fn thread(&self) -> Option<DriverStatus> {
        let answer = self.driver.query().ok()?;
        timeout(ANSWER, answer).await.ok()?.ok()
    }

    async fn look(&mut self) -> Next {
        let Some(cause) = self.wanted.take() else { return Next::On };
        let Some(thread) = self.thread().await else {
            self.not_before = Some(Instant::now() + AGAIN);
            return self.want(cause);
        };
        let job = Job { look: cause.look, ..self.job(&thread) };
        let machine = Arc::clone(&self.machine);
        let work =
            tokio::task::spawn_blocking(move || machine.lock().unwrap_or_else(PoisonError::into_inner).converge(&job));
        self.work = Some((cause, work));
        Next::On
    }

    /// What the machine is to be made now.
    pub fn job(&self, thread: &DriverStatus) -> Job {
        Job {
            desired: Arc::clone(&self.setup.desired),
            live: self.state.live(&self.setup, thread),
            turns: self.turns.now(),
            look: Look::All,
            hands_off: self.setup.addresses(),
        }
    }

    pub fn tried(&mut self, (cause, outcome): (Cause, Result<Outcome, tokio::task::JoinError>)) -> Next {
        if let Ok(Outcome::Tried(tried, notes)) = &outcome {
            self.note(cause.look, tried, notes);
        }
        let later = match outcome {
            Ok(Outcome::Tried(tried, _)) if tried.is_empty() => SETTLE,
            Ok(Outcome::Tried(tried, _)) => {
                self.restored(&cause, &tried);
                let failed = tried.iter().any(|t| t.error.is_some());
                if failed {
                    self.want(Cause::hint(None));
                }
                let pause = self.fights.pause(clock::now());
                self.fighting = pause.is_some();
                // What cannot be put right now (a read-only /proc/sys) is not tried every second for ever.
                self.retry = if failed { (self.retry * 2).clamp(AGAIN, LOOK) } else { Duration::ZERO };
                if failed { self.retry } else { pause.unwrap_or(Duration::ZERO) }
            }
            Ok(Outcome::Busy) => {
                self.want(cause);
                SETTLE
            }
            Ok(Outcome::Blind(e)) => {
                let help = e.help().join("; ");
                self.trouble(&format!("the machine cannot be compared with the file: {e}; {help}"));
                self.want(cause);
                self.retry = (self.retry * 2).clamp(AGAIN, LOOK);
                self.retry
            }
            Err(_) => {
                self.trouble("a look at the machine panicked; it is tried again");
                self.want(cause);
                AGAIN
            }
        };
        // Interfaces may have come, or come anew, with keys that were not there before.
        self.sysctls.watch(self.setup.desired.sysctls.keys());
        self.not_before = Some(Instant::now() + later);
        Next::On
    }

    /// What could not be done stands in `status` until it could.
    pub fn note(&mut self, look: Look, tried: &[Tried], notes: &[Note]) {
        if !self.machine.lock().unwrap_or_else(PoisonError::into_inner).is_unrecorded() {
            self.state.recorded();
        }
        let noted = self.state.noted(notes);
        for what in self.state.tried(look, tried).into_iter().chain(noted) {
            tracing::warn!("{what}");
            self.say(&Said::Trouble { what });
        }
    }

    fn restored(&mut self, cause: &Cause, tried: &[Tried]) {
        let now = clock::now();
        if tried.iter().any(Tried::loaded) {
            // Its end shows in the events.
            let _ = self.driver.send(Command::TableLoaded);
        }
        let by = cause.by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
        for t in tried {
            let object = &t.step.object;
            let Some(kind) = t.restored() else { continue };
            *self.state.restored.entry(kind.to_owned()).or_default() += 1;
            let vip = t.step.reasons.first().map(|r| r.what.clone()).unwrap_or_default();
            let took = now.since(cause.at);
            let what = format!("{object} {}{by}: put back after {} ms", t.step.what, took.as_millis());
            let event = Event::Restored { vip, what };
            tell::words(&event).log();
            self.out.tell(now, &event);
            if self.fights.count(now) {
                // Who it was stands in the lines before; one who is started anew each time has another number each time.
                self.trouble(&Fights::words(object));
            }
        }
    }

    pub(super) fn event(&mut self, event: Option<DriverEvent>) -> Next {
        match event {
            Some(DriverEvent::Router { at, event }) => {
                self.out.tell(at, &event);
                self.log(&event);
                self.routed(&event);
                Next::On
            }
            Some(DriverEvent::TableTouched { at, removed, by }) => {
                self.want(Cause { at, by, urgent: removed, look: Look::All })
            }
            Some(DriverEvent::TableFailed { at, what }) => {
                self.trouble(&what);
                self.want(Cause { at, by: None, urgent: true, look: Look::All })
            }
            Some(DriverEvent::Stopped) | None => Next::DriverEnded,
        }
    }

    /// Tells people; what somebody takes away as fast as it is put back only now and then.
    fn log(&mut self, event: &Event) {
        if let Event::Restored { .. } = event {
            let now = clock::now();
            if self.lost.count(now) {
                self.trouble(&Fights::told_less());
            }
            if self.lost.pause(now).is_some() {
                return;
            }
        }
        self.log_told(&tell::words(event));
    }

    fn routed(&mut self, event: &Event) {
        let Event::State { vip, from, to, priority, why } = event else {
            if let Event::Warning { vip, what } = event {
                self.state.warn(&format!("vip.{vip}: {what}"));
            }
            return;
        };
        if let Some(vip) = self.setup.desired.vips.iter().find(|v| v.name == *vip) {
            self.notifier.tell(&Change { vip, from: *from, to: *to, priority: *priority, why });
        }
        self.grouped(vip, (*from, *to), why);
        match to {
            VipState::Master => drop(self.mastered.insert(vip.clone())),
            _ => drop(self.mastered.remove(vip)),
        }
        let held: Vec<&str> = self.mastered.iter().map(String::as_str).collect();
        let words = if held.is_empty() { "master of nothing".into() } else { format!("master of {}", held.join(", ")) };
        let _ = sd_notify::notify(&[NotifyState::Status(&words)]);
        if *from == VipState::Fault {
            // Its interface may have come, and with it sysctls that were not there.
            self.want(Cause::hint(None));
        }
    }

    async fn alive(&mut self, watched: bool) -> Next {
        // systemd restarts a run whose protocol hangs, not only one whose process does.
        if watched && self.thread().await.is_some() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        Next::On
    }

    /// Hands over: goes on with everything until the VRRP thread has. Asked again, it does not wait for a successor.
    fn stop(&mut self) {
        let bound = self.setup.driver.routers.iter().map(handover_limit).max().unwrap_or_default() + HAND_OVER;
        match self.stopping {
            None => {
                let _ = sd_notify::notify(&[NotifyState::Stopping]);
                tracing::info!("handing over");
                self.stopping = Some(Instant::now() + bound);
            }
            Some(_) => {
                tracing::info!("asked to end again: ending at once");
                self.stopping = Some(Instant::now() + HAND_OVER);
            }
        }
        // Its end shows in the events.
        let _ = self.driver.send(Command::Stop);
    }

    fn overstayed(self) -> Result<(), RunError> {
        tracing::error!("handing over took too long: releasing what is left");
        let _ = driver::release_leftovers(&self.setup.driver);
        Ok(())
    }

    async fn stopped(mut self) -> Result<(), RunError> {
        self.notifier.drain(LAST_WORDS).await;
        self.finish();
        self.driver.join().map_err(RunError::from)
    }

    async fn driver_ended(mut self) -> Result<(), RunError> {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        tracing::error!("the VRRP thread has ended: releasing what it held");
        if let Err(e) = driver::release_leftovers(&self.setup.driver) {
            tracing::error!("{e}");
        }
        self.finish();
        self.driver.join()?;
        Err(driver::DriverError::Panicked("it ended unasked".into()).into())
    }
}

/// The end of the work that is under way; never, where there is none.
pub(super) async fn ended(
    work: &mut Option<(Cause, JoinHandle<Outcome>)>,
) -> (Cause, Result<Outcome, tokio::task::JoinError>) {
    let Some((_, handle)) = work else { return std::future::pending().await };
    let outcome = handle.await;
    match work.take() {
        Some((cause, _)) => (cause, outcome),
        None => std::future::pending().await,
    }
}
