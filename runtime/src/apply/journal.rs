//! The journal `<state>/journal`: one JSON line before each run of steps, so that a killed apply is noticed and can be
//! told apart from a finished one. Closed by removing it.
//!
//! What undoes a killed apply is the next plan, made from what is seen on the machine: the journal only says that
//! there was one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use model::plan::{Plan, Step};
use serde::{Deserialize, Serialize};

use crate::kernel::{KernelError, record};
use crate::statedir;

/// Room beyond the plan's own size that is kept for undoing: the record is written anew as steps are taken back.
const RESERVE: usize = 64 * 1024;

/// The largest journal that is read: a line of some hundred bytes for each of many thousand steps.
const JOURNAL_LIMIT: u64 = 16 * 1024 * 1024;

/// An apply that did not end: it was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its process.
    pub pid: u32,
    /// When it began, RFC 3339 in UTC.
    pub at: String,
    /// How many steps it had.
    pub steps: usize,
    /// How many were begun; the last of them may not have been done.
    pub begun: usize,
    /// Object of the last one begun.
    pub last: Option<String>,
    /// Whether it was taking its steps back.
    pub undoing: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Begin { pid: u32, at: String, cluster: String, peer: String, steps: usize },
    Doing { number: usize, object: String },
    Undoing,
}

/// The journal of this state directory, where the apply that wrote it did not end.
pub fn leftover(state: &Path) -> Option<Leftover> {
    let text = String::from_utf8(statedir::read(&path(state), JOURNAL_LIMIT).ok()?).ok()?;
    let mut found = Leftover { pid: 0, at: "?".into(), steps: 0, begun: 0, last: None, undoing: false };
    // The last line may be cut short: what was begun before it stands.
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Begin { pid, at, steps, .. } => (found.pid, found.at, found.steps) = (pid, at, steps),
            Line::Doing { number, object } => (found.begun, found.last) = (number + 1, Some(object)),
            Line::Undoing => found.undoing = true,
        }
    }
    Some(found)
}

/// Closes the journal of an apply that did not end.
pub(super) fn discard(state: &Path) {
    let _ = fs::remove_file(path(state));
    let _ = fs::remove_file(reserve(state));
}

/// An open journal.
pub(super) struct Journal {
    state: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal of a plan and sets room aside for undoing it: a full disk is found before anything changes.
    pub(super) fn begin(state: &Path, plan: &Plan) -> Result<Journal, KernelError> {
        let size = serde_json::to_vec(plan).map(|json| json.len()).unwrap_or_default();
        let recorded = fs::metadata(record::path(state)).map(|m| m.len() as usize).unwrap_or_default();
        let room = vec![0; RESERVE + 2 * (size + recorded)];
        let set_aside = statedir::create(&reserve(state)).and_then(|mut file| {
            file.write_all(&room)?;
            file.sync_data()
        });
        let begun = set_aside.and_then(|()| statedir::create(&path(state)));
        let mut journal = match begun {
            Ok(file) => Journal { state: state.to_owned(), file },
            Err(e) => {
                discard(state);
                return Err(KernelError::State { path: state.display().to_string(), why: e.to_string() });
            }
        };
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (cluster, peer) = (plan.cluster.clone(), plan.peer.clone());
        let first = Line::Begin { pid: std::process::id(), at, cluster, peer, steps: plan.steps.len() };
        journal.write(&first).inspect_err(|_| discard(state))?;
        Ok(journal)
    }

    /// Notes steps before they are done, the first of them by its number in the plan.
    pub(super) fn doing(&mut self, number: usize, steps: &[Step]) -> Result<(), KernelError> {
        let Some(last) = steps.last() else { return Ok(()) };
        self.write(&Line::Doing { number: number + steps.len() - 1, object: last.object.clone() })
    }

    /// Frees the room that was set aside and notes that steps are being taken back.
    pub(super) fn undoing(&mut self) {
        let _ = fs::remove_file(reserve(&self.state));
        // Undoing goes on where it cannot be noted.
        let _ = self.write(&Line::Undoing);
    }

    /// Closes the journal: everything was done, or everything taken back.
    pub(super) fn end(&mut self) {
        discard(&self.state);
    }

    fn write(&mut self, line: &Line) -> Result<(), KernelError> {
        let failed = |why: String| KernelError::State { path: path(&self.state).display().to_string(), why };
        let mut bytes = serde_json::to_vec(line).map_err(|e| failed(e.to_string()))?;
        bytes.push(b'\n');
        // No sync: the journal tells of killed processes; with the power, what was applied is gone too.
        self.file.write_all(&bytes).map_err(|e| failed(e.to_string()))
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("journal")
}

fn reserve(state: &Path) -> PathBuf {
    state.join("journal.reserve")
}
