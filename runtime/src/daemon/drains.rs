//! What is left to others at somebody's wish: remembered in the state directory until it is taken back, runs out, or the
//! machine boots.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::desired::Desired;
use model::units::Moment;
use serde::{Deserialize, Serialize};

use crate::control::DrainStatus;
use crate::{clock, statedir};

/// The largest record that is read: 255 vips with long reasons.
const LIMIT: u64 = 1024 * 1024;

/// Longest reason, in characters: more belongs into a ticket.
pub(super) const REASON: usize = 500;

/// Longest time, as the verb allows it.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The record's content.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Record {
    /// Moments mean nothing after a boot.
    boot: String,
    drains: Vec<DrainStatus>,
}

/// The drains of this machine.
#[derive(Debug)]
pub(super) struct Drains {
    path: PathBuf,
    by_vip: BTreeMap<String, DrainStatus>,
}

impl Drains {
    /// Those that a run before this one left, with what is to be said of a record that is of no use.
    pub fn load(state: &Path) -> (Self, Option<String>) {
        let path = state.join("drains.json");
        let mut drains = Drains { path, by_vip: BTreeMap::new() };
        let said = match drains.read() {
            Ok(read) => {
                drains.by_vip = read.into_iter().map(|d| (d.vip.clone(), d)).collect();
                drains.expired(clock::now());
                None
            }
            Err(e) => Some(format!("{} is not used, so nothing is drained: {e}", drains.path.display())),
        };
        (drains, said)
    }

    fn read(&self) -> io::Result<Vec<DrainStatus>> {
        let bytes = match statedir::read(&self.path, LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
            other => other?,
        };
        let record: Record = serde_json::from_slice(&bytes)?;
        Ok(if record.boot == clock::boot() { record.drains } else { vec![] })
    }

    /// Writes them down.
    ///
    /// # Errors
    /// The system's: they hold until this run ends then.
    pub fn save(&self) -> io::Result<()> {
        if self.by_vip.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        let record = Record { boot: clock::boot(), drains: self.by_vip.values().cloned().collect() };
        let text = serde_json::to_vec(&record)?;
        // Whole or not at all.
        let new = self.path.with_extension("new");
        let written = statedir::create(&new).and_then(|mut file| file.write_all(&text));
        written.and_then(|()| std::fs::rename(&new, &self.path))
    }

    /// The names, for the router.
    pub fn names(&self) -> BTreeSet<String> {
        self.by_vip.keys().cloned().collect()
    }

    /// For `status`, in the order of their names.
    pub fn list(&self) -> Vec<DrainStatus> {
        self.by_vip.values().cloned().collect()
    }

    /// From now on these, too; one that is drained already gets the new reason and time.
    pub fn add(&mut self, vips: &[String], reason: Option<String>, lasts: Option<Duration>) {
        let now = clock::now();
        for vip in vips {
            let since = self.by_vip.get(vip).map_or(now, |d| d.since);
            let until = lasts.map(|lasts| now + lasts);
            self.by_vip.insert(vip.clone(), DrainStatus { vip: vip.clone(), since, until, reason: reason.clone() });
        }
    }

    /// Takes these back, and says which of them were drained.
    pub fn remove(&mut self, vips: &[String]) -> Vec<String> {
        vips.iter().filter(|vip| self.by_vip.remove(*vip).is_some()).cloned().collect()
    }

    /// When the next one runs out.
    pub fn deadline(&self) -> Option<Moment> {
        self.by_vip.values().filter_map(|d| d.until).min()
    }

    /// Takes those back whose time has run out.
    pub fn expired(&mut self, now: Moment) -> Vec<String> {
        let over = |d: &&DrainStatus| d.until.is_some_and(|until| until <= now);
        let over: Vec<String> = self.by_vip.values().filter(over).map(|d| d.vip.clone()).collect();
        self.remove(&over)
    }
}

/// The vips that are meant, with those of their groups, in the order of the file: all of them where none is named.
///
/// # Errors
/// A name that is none, with the one that was meant.
pub(super) fn meant(desired: &Desired, named: &[String]) -> Result<Vec<String>, (String, Vec<String>)> {
    let known: Vec<&str> = desired.vips.iter().map(|v| v.name.as_str()).collect();
    for name in named {
        if !known.contains(&name.as_str()) {
            return Err(unknown(name, &known));
        }
    }
    let group = |name: &str| desired.vips.iter().find(|v| v.name == name).and_then(|v| v.group.as_ref());
    let groups: Vec<&String> = named.iter().filter_map(|name| group(name)).collect();
    let is_meant = |name: &&str| {
        named.is_empty() || named.iter().any(|n| n == name) || group(name).is_some_and(|g| groups.contains(&g))
    };
    Ok(known.into_iter().filter(is_meant).map(str::to_owned).collect())
}

/// `status` names them.
fn unknown(name: &str, known: &[&str]) -> (String, Vec<String>) {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(k, name), k)).min().filter(|(far, _)| *far <= 2);
    let help = match near {
        Some((_, near)) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => "this machine has no vip in the file".into(),
        None => format!("its vips are {}", known.join(", ")),
    };
    (format!("this machine has no vip \"{name}\""), vec![help])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(state: &Path) -> Vec<String> {
        Drains::load(state).0.names().into_iter().collect()
    }

    #[test]
    fn what_is_drained_survives_the_process_and_ends_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let (mut drains, said) = Drains::load(dir.path());
        assert_eq!(said, None);
        drains.add(&["a".into(), "b".into()], Some("kernel".into()), None);
        drains.add(&["c".into()], None, Some(Duration::from_secs(60)));
        drains.save().unwrap();
        assert_eq!(drained(dir.path()), ["a", "b", "c"]);
        let (mut again, _) = Drains::load(dir.path());
        assert_eq!(again.list()[0].reason.as_deref(), Some("kernel"));
        assert_eq!(again.expired(clock::now()), Vec::<String>::new());
        assert_eq!(again.expired(clock::now() + Duration::from_secs(61)), ["c"]);
        assert_eq!(again.remove(&["a".into(), "x".into()]), ["a"]);
        again.remove(&["b".into()]);
        again.save().unwrap();
        assert!(!dir.path().join("drains.json").exists());
    }

    #[test]
    fn a_record_of_another_boot_is_none_and_a_damaged_one_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drains.json");
        let (mut drains, _) = Drains::load(dir.path());
        drains.add(&["a".into()], None, None);
        drains.save().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&clock::boot(), "another")).unwrap();
        assert_eq!(drained(dir.path()), Vec::<String>::new());
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        let (drains, said) = Drains::load(dir.path());
        assert!(drains.names().is_empty() && said.unwrap().contains("drains.json is not used"));
    }
}
