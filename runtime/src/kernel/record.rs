//! The record `<state>/record.json`: what hactl changed that carries no mark of its own, with the values before.
//!
//! Written before the change it speaks of, as a whole and atomically: a crash between the two loses nothing.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use model::observed::Record;
use serde::{Deserialize, Serialize};

use super::KernelError;
use crate::statedir;

/// Version of the file's form.
const RECORD_VERSION: u32 = 1;

/// The largest record that is read: 255 vips with a sysctl of every interface are below a tenth of it.
const RECORD_LIMIT: u64 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Stored {
    version: u32,
    /// The boot it speaks of: the changes are gone with a reboot, wherever the file is kept.
    boot_id: String,
    record: Record,
}

/// Where the record is kept.
pub fn path(state: &Path) -> PathBuf {
    state.join("record.json")
}

/// What was recorded since this boot; empty where nothing was.
///
/// # Errors
/// Where the file cannot be read or understood: it is never silently taken for empty, because what it says of the
/// values before stands nowhere else.
pub fn load(state: &Path) -> Result<Record, KernelError> {
    let path = path(state);
    let bad = |why: String| KernelError::BadRecord { path: path.display().to_string(), why };
    let bytes = match statedir::read(&path, RECORD_LIMIT) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Record::default()),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Err(KernelError::NotPermitted { what: format!("reading {}", path.display()) });
        }
        // Where no directory is, there is no record that anybody could move away.
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            return Err(KernelError::State { path: path.display().to_string(), why: e.to_string() });
        }
        Err(e) => return Err(bad(e.to_string())),
    };
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if stored.version != RECORD_VERSION {
        let known = format!("its version is {}, this hactl knows {RECORD_VERSION}", stored.version);
        return Err(bad(known));
    }
    Ok(if stored.boot_id == boot_id()? { stored.record } else { Record::default() })
}

/// Replaces the record.
///
/// # Errors
/// Where it cannot be written; then the one before stands.
pub fn save(state: &Path, record: &Record) -> Result<(), KernelError> {
    let stored = Stored { version: RECORD_VERSION, boot_id: boot_id()?, record: record.clone() };
    let bytes = serde_json::to_vec_pretty(&stored)
        .map_err(|e| KernelError::State { path: path(state).display().to_string(), why: e.to_string() })?;
    replace(&path(state), &bytes)
}

/// Whether a record could be written there.
pub(super) fn writable(state: &Path) -> Result<(), KernelError> {
    let probe = state.join("record.probe");
    replace(&probe, b"{}")?;
    fs::remove_file(&probe).map_err(|e| KernelError::State { path: probe.display().to_string(), why: e.to_string() })
}

/// Identity of this boot, from the kernel.
pub(super) fn boot_id() -> Result<String, KernelError> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|e| KernelError::Refused { what: format!("reading {path}"), why: e.to_string() })
}

/// Replaces a file as a whole: readers see the one before or the one after, also after a crash.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), KernelError> {
    let failed = |e: std::io::Error| KernelError::State { path: path.display().to_string(), why: e.to_string() };
    let dir = path.parent().unwrap_or(Path::new("/"));
    statedir::make(dir).map_err(failed)?;
    let new = path.with_extension("new");
    let written = statedir::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    // The directory needs no sync: with the power, what the record speaks of is gone too.
    let swapped = written.and_then(|()| fs::rename(&new, path));
    swapped.map_err(|e| {
        // Half a file takes the room that is short.
        let _ = fs::remove_file(&new);
        failed(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::observed::SysctlBefore;

    fn some() -> Record {
        let before = SysctlBefore { before: "0".into(), ours: "1".into() };
        Record { sysctls: [("net.ipv4.ip_forward".to_owned(), before)].into(), ..Record::default() }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/hactl");
        assert_eq!(load(&state), Ok(Record::default()));
        save(&state, &some()).unwrap();
        assert_eq!(load(&state), Ok(some()));
    }

    #[test]
    fn a_record_of_another_boot_is_over() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &some()).unwrap();
        let text = fs::read_to_string(path(dir.path())).unwrap().replace(&boot_id().unwrap(), "another");
        fs::write(path(dir.path()), text).unwrap();
        assert_eq!(load(dir.path()), Ok(Record::default()));
    }

    #[test]
    fn a_damaged_record_is_named_with_its_remedy_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"version\":9,\"boot-id\":\"\",\"record\":{\"sysctls\":{},\"vips\":{}}}", "\0\u{1}"] {
            fs::write(path(dir.path()), text).unwrap();
            let error = load(dir.path()).unwrap_err();
            assert!(error.to_string().contains("record.json cannot be understood"), "{error}");
            assert!(error.help().join(" ").contains("mv "), "{:?}", error.help());
            assert_eq!(fs::read_to_string(path(dir.path())).unwrap(), text);
        }
    }
}
