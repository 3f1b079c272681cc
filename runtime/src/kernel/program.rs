//! Running a program with a limit on its time.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::KernelError;
use crate::child::hear_signals;

/// Longest that a program may take. The largest table (65,537 slots) loads in 0.4 s; a busy machine may need ten
/// times that; an `nft` that hangs on the kernel's lock is given up after this.
pub(super) const PROGRAM_LIMIT: Duration = Duration::from_secs(10);

/// Where a program lies on this PATH.
pub(super) fn find(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|file| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

/// How a program ended: what it printed, or its complaint.
pub(super) enum Ended {
    /// With 0, and this on its standard output.
    Well(String),
    /// Otherwise, and this on its standard error, or the signal in words.
    Badly(String),
}

/// Runs a program with `input` on its standard input and gathers its output.
pub(super) fn run(program: &str, args: &[&str], input: &str) -> Result<Ended, KernelError> {
    let refused = |why: String| KernelError::Refused { what: format!("running {program} {}", args.join(" ")), why };
    let file = find(program, std::env::var_os("PATH").as_deref())
        .ok_or_else(|| KernelError::NoProgram { program: program.to_owned() })?;
    let mut command = Command::new(file);
    let mut child = hear_signals(&mut command)
        .args(args)
        // Messages are shown as they come: in the language of the rest.
        .env("LC_ALL", "C")
        // ^C is for us: the program ends its transaction.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| refused(e.to_string()))?;
    let pid = i32::try_from(child.id()).map_err(|e| refused(e.to_string()))?;
    let (stdin, input) = (child.stdin.take(), input.to_owned());
    // A program that complains early stops reading: then its complaint says more than the broken pipe.
    let writer = thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let output = match wait.recv_timeout(PROGRAM_LIMIT) {
        Ok(output) => output.map_err(|e| refused(e.to_string()))?,
        Err(_) => {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            return Err(refused(format!("it did not end within {} seconds", PROGRAM_LIMIT.as_secs())));
        }
    };
    let _ = writer.join();
    if output.status.success() {
        return Ok(Ended::Well(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(Ended::Badly(match output.status.signal() {
        Some(signal) => format!("it died of signal {signal}; {words}"),
        None if words.is_empty() => output.status.to_string(),
        None => words,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_only_on_the_path_and_only_if_it_can_be_run() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("nft"), "").unwrap();
        assert_eq!(find("nft", Some(dir.path().as_os_str())), None);
        std::fs::set_permissions(dir.path().join("nft"), PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(find("nft", Some(dir.path().as_os_str())), Some(dir.path().join("nft")));
        assert_eq!(find("nft", Some(OsStr::new(""))), None);
        assert_eq!(find("nft", None), None);
    }

    #[test]
    fn input_is_written_and_output_read_without_blocking_each_other() {
        let long = "x".repeat(1 << 20);
        assert!(matches!(run("cat", &[], &long).unwrap(), Ended::Well(out) if out == long));
    }

    #[test]
    fn a_program_that_stops_reading_is_judged_by_its_own_words() {
        let long = "x".repeat(1 << 20);
        let ended = run("sh", &["-c", "echo no >&2; exit 3"], &long).unwrap();
        assert!(matches!(ended, Ended::Badly(words) if words == "no"));
    }
}
