//! What is asked of a run over the control socket, and by SIGHUP.

use std::time::Duration;

use model::vrrp::VipState;
use tokio::time::{Instant, sleep};

use super::drains::{LONGEST, REASON, meant};
use super::turn::{Daemon, Next};
use crate::clock;
use crate::control::{Asked, Reply, Request, StatusReport};
use crate::driver::{Command, DriverStatus};

/// How long an answer may take to reach its socket.
const WRITTEN: Duration = Duration::from_millis(20);

impl Daemon {
    pub(super) async fn answer(&mut self, Asked { request, reply }: Asked) -> Next {
        let answer = match request {
            Request::Reload { .. } if self.stopping.is_some() => {
                Reply::Refused { what: "it was asked to end and is handing over".into(), help: vec![] }
            }
            Request::Reload { plan } => self.reload(plan).await,
            Request::Status | Request::Live => match self.thread().await {
                None => Reply::Refused { what: "the VRRP thread does not answer".into(), help: vec![] },
                Some(thread) if request == Request::Live => Reply::Live(self.state.live(&self.setup, &thread)),
                Some(thread) => {
                    let report = self.state.report(&self.setup, &thread);
                    let (drains, resumed) = (self.drains.list(), self.resumed);
                    Reply::Status(Box::new(StatusReport { drains, resumed, ..report }))
                }
            },
            Request::Drain { vips, reason, seconds } => {
                self.drain(vips, reason, seconds.map(Duration::from_secs)).await
            }
            Request::Undrain { vips } => self.undrain(vips).await,
            Request::Failover { vip } => self.failover(vip).await,
            Request::Restart => match self.may_restart().await {
                Ok(()) => {
                    let _ = reply.send(Reply::Restarting);
                    // Written before this program is none.
                    sleep(WRITTEN).await;
                    return Next::Restart;
                }
                Err((what, help)) => refused(what, help),
            },
        };
        // The client may be gone.
        let _ = reply.send(answer);
        Next::On
    }

    pub(super) async fn hang_up(&mut self) -> Next {
        if self.stopping.is_none() {
            // Whether it was refused stands in the log and in `status`.
            let _ = self.reload(None).await;
        }
        Next::On
    }

    /// By SIGUSR2: why not stands in the log and in `status`.
    pub(super) async fn asked_to_restart(&mut self) -> Next {
        match self.may_restart().await {
            Ok(()) => Next::Restart,
            Err((what, _)) => {
                self.trouble(&format!("restart refused: {what}"));
                Next::On
            }
        }
    }

    async fn drain(&mut self, vips: Vec<String>, reason: Option<String>, lasts: Option<Duration>) -> Reply {
        if reason.as_ref().is_some_and(|r| r.chars().count() > REASON) {
            return refused(format!("a reason has at most {REASON} characters"), vec![]);
        }
        if lasts.is_some_and(|lasts| lasts.is_zero() || lasts > LONGEST) {
            return refused("a drain lasts at least a second and at most a year".into(), vec![]);
        }
        let begun = self.begun(&vips).await;
        if let Reply::Begun { vips, .. } = &begun {
            let why = reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            tracing::info!("drained {}{why}", vips.join(", "));
            self.drains.add(vips, reason, lasts);
            self.drained();
        }
        begun
    }

    async fn undrain(&mut self, vips: Vec<String>) -> Reply {
        let begun = self.begun(&vips).await;
        let Reply::Begun { vips, held } = begun else { return begun };
        let vips = self.take_back(&vips);
        Reply::Begun { vips, held }
    }

    async fn failover(&mut self, vip: String) -> Reply {
        let begun = self.begun(std::slice::from_ref(&vip)).await;
        let Reply::Begun { vips, held } = &begun else { return begun };
        if held.is_empty() {
            let help = vec!["hactl status says who holds it: run hactl failover there".into()];
            return refused(format!("vip \"{vip}\" is not held here"), help);
        }
        tracing::info!("asked to step down from {}", vips.join(", "));
        // Its end shows in the events.
        let _ = self.driver.send(Command::StepDown(vip));
        begun
    }

    /// Which vips are meant, and which of them this machine is master of.
    async fn begun(&self, named: &[String]) -> Reply {
        if self.stopping.is_some() {
            return refused("it was asked to end and is handing over".into(), vec![]);
        }
        let Some(thread) = self.thread().await else { return silent() };
        match meant(&self.setup.desired, named) {
            Ok(vips) => {
                let held = vips.iter().filter(|vip| is_master(&thread, vip)).cloned().collect();
                Reply::Begun { vips, held }
            }
            Err((what, help)) => refused(what, help),
        }
    }

    /// When the next drain runs out.
    pub(super) fn drained_until(&self) -> Instant {
        let left = self.drains.deadline().map_or(Duration::ZERO, |until| until.since(clock::now()));
        Instant::now() + left
    }

    /// Takes back what has run out.
    pub(super) fn undrain_expired(&mut self) -> Next {
        let over = self.drains.expired(clock::now());
        if !over.is_empty() {
            tracing::info!("the drain of {} has run out", over.join(", "));
            self.drained();
        }
        Next::On
    }

    fn take_back(&mut self, vips: &[String]) -> Vec<String> {
        let back = self.drains.remove(vips);
        if !back.is_empty() {
            tracing::info!("no longer drained: {}", back.join(", "));
            self.drained();
        }
        back
    }

    /// Writes down what is drained now, and tells the VRRP thread.
    fn drained(&mut self) {
        if let Err(e) = self.drains.save() {
            let what = format!("what is drained cannot be written down, and ends with this process: {e}");
            self.trouble(&what);
        }
        // Its end shows in the events.
        let _ = self.driver.send(Command::Drain(self.drains.names()));
    }
}

fn is_master(thread: &DriverStatus, vip: &str) -> bool {
    thread.vips.iter().any(|v| v.vip == vip && v.state == VipState::Master)
}

fn silent() -> Reply {
    refused("the VRRP thread does not answer".into(), vec![])
}

fn refused(what: String, help: Vec<String>) -> Reply {
    Reply::Refused { what, help }
}
