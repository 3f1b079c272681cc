//! What happens, told: JSON lines on standard output for programs, the log for people.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use model::units::Moment;
use model::vrrp::{Event, VipState};
use serde::Serialize;

/// Lines that may wait for a reader of standard output; beyond, they are dropped: a run never waits for who watches it.
const WAITING: usize = 4096;

/// How long the last lines may take to be read at the end.
const FINISH: Duration = Duration::from_millis(200);

/// What the daemon itself tells beside the router's [`Event`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Said {
    /// Everything is started.
    Ready {
        /// This machine's name in the file.
        peer: String,
    },
    /// A check of this machine turned.
    Check {
        /// Its name.
        check: String,
        /// Whether it is up now.
        up: bool,
        /// The last result.
        why: String,
    },
    /// The number in a tracked file became another.
    Weight {
        /// Name of the check.
        check: String,
        /// The number now.
        weight: i16,
        /// What was read.
        why: String,
    },
    /// A backend turned: it left the slots, or is back in them.
    Backend {
        /// The service's name.
        service: String,
        /// The backend's name.
        backend: String,
        /// Whether it is up now.
        up: bool,
        /// The last result.
        why: String,
    },
    /// A valid file is in force.
    Reloaded {
        /// How many steps were performed.
        steps: usize,
    },
    /// A file with mistakes changed nothing.
    ReloadRefused {
        /// Every mistake with its place.
        what: Vec<String>,
    },
    /// Something that needs a person's eye.
    Trouble {
        /// What, for people.
        what: String,
    },
}

/// The new number of a file, logged; what is no number may be a slip of the pen.
pub(super) fn weight(check: &str, weight: i16, why: String) -> Said {
    match why.contains(": ") && !why.ends_with("no such file") {
        true => tracing::warn!("check {check} says {why}"),
        false => tracing::info!("check {check} says {why}"),
    }
    Said::Weight { check: check.to_owned(), weight, why }
}

#[derive(Serialize)]
struct Line<'a, T> {
    at: Moment,
    #[serde(flatten)]
    what: &'a T,
}

/// Standard output, behind a thread of its own.
#[derive(Debug)]
pub(super) struct Out {
    lines: Option<SyncSender<Vec<u8>>>,
    ended: Option<Receiver<()>>,
}

impl Out {
    /// Silent unless `json`.
    pub fn new(json: bool) -> Self {
        if !json {
            return Out { lines: None, ended: None };
        }
        let (sender, lines) = sync_channel::<Vec<u8>>(WAITING);
        let (end, ended) = sync_channel(1);
        // Where no thread is to be had, nobody listens to the channel and lines are dropped.
        let _ = std::thread::Builder::new().name("events".into()).spawn(move || {
            // Dropped with the thread: that is what `finish` waits for.
            let _end: SyncSender<()> = end;
            for line in lines {
                let mut out = std::io::stdout().lock();
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        });
        Out { lines: Some(sender), ended: Some(ended) }
    }

    /// One line.
    pub fn tell(&self, at: Moment, what: &impl Serialize) {
        let Some(lines) = &self.lines else { return };
        if let Ok(mut line) = serde_json::to_vec(&Line { at, what }) {
            line.push(b'\n');
            let _ = lines.try_send(line);
        }
    }

    /// Waits until everything told so far is written, or [`FINISH`]; nothing more can be told.
    pub fn finish(&mut self) {
        self.lines = None;
        if let Some(ended) = self.ended.take() {
            // Ends with an error: nothing is ever sent, the sender goes with the thread.
            let _ = ended.recv_timeout(FINISH);
        }
    }
}

/// A router's event in the log.
pub(super) fn log(event: &Event) {
    match event {
        Event::State { vip, from, to: VipState::Fault, priority, why } => {
            tracing::warn!("vip.{vip} {} -> FAULT, priority {priority}: {why}", word(*from));
        }
        Event::State { vip, from, to, priority, why } => {
            tracing::info!("vip.{vip} {} -> {}, priority {priority}: {why}", word(*from), word(*to));
        }
        Event::Dropped { subject, source, cause, count } => {
            tracing::warn!("{subject}: packets from {source} dropped ({cause}), {count} so far");
        }
        Event::Warning { vip, what } => tracing::warn!("vip.{vip}: {what}"),
        Event::Restored { vip, what } => tracing::warn!("{}somebody else changed what is ours: {what}", subject(vip)),
    }
}

/// The front of a line: a vip by its name, an object of the file as it is, and nothing for a sysctl, which the line names.
fn subject(of: &str) -> String {
    match of {
        "" | "sysctl" => String::new(),
        object if object.contains('.') => format!("{object}: "),
        vip => format!("vip.{vip}: "),
    }
}

fn word(state: VipState) -> &'static str {
    match state {
        VipState::Init => "INIT",
        VipState::Backup => "BACKUP",
        VipState::Master => "MASTER",
        VipState::Fault => "FAULT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_begins_with_its_object_in_one_form() {
        let fronts = ["site", "vip.site", "service.web", "sysctl", ""].map(subject);
        assert_eq!(fronts, ["vip.site: ", "vip.site: ", "service.web: ", "", ""]);
    }
}
