//! The front: starts the world in namespaces of its own, waits, and leaves the terminal as it was.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::{Child, Command};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use nix::unistd::Pid;

use super::sandbox::{SandboxError, leave, own_program};

/// Leaves the alternate screen, shows the cursor, ends colours: harmless where none of it was begun.
const SOBER: &[u8] = b"\x1b[?1049l\x1b[?25h\x1b[0m";

/// Starts the world with these arguments and returns its exit code. The calling process must
/// have one thread, and may start none afterwards: its children are of another process namespace.
///
/// # Errors
/// Where this machine forbids namespaces, or the world was killed.
pub fn front(arguments: &[OsString]) -> Result<u8, SandboxError> {
    let failed =
        |what: &str, why: &dyn ToString| SandboxError { what: what.into(), why: why.to_string(), help: vec![] };
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect();
    signals.thread_block().map_err(|e| failed("holding signals", &e))?;
    let input = std::io::stdin();
    let terminal = tcgetattr(&input).ok();
    leave()?;
    let world = Command::new(own_program()).args(["lab-inside", "world"]).args(arguments).spawn();
    let mut world = world.map_err(|e| failed("starting the laboratory", &e))?;
    let code = wait(&signals, &mut world).map_err(|e| failed("waiting for the laboratory", &e))?;
    if let Some(terminal) = terminal {
        let _ = tcsetattr(&input, SetArg::TCSANOW, &terminal);
    }
    match code {
        Ok(code) => Ok(code),
        Err(how) => {
            if std::io::stdout().is_terminal() {
                let _ = std::io::stdout().write_all(SOBER);
            }
            Err(SandboxError {
                what: "the laboratory ended before its summary".into(),
                why: format!("somebody or something killed its first process ({how})"),
                help: vec!["nothing of it is left; start it again, or look for \"Out of memory\" in `dmesg`".into()],
            })
        }
    }
}

/// Waits for the world, passing on what asks it to end: its exit code, or how it was killed.
fn wait(signals: &SigSet, world: &mut Child) -> std::io::Result<Result<u8, String>> {
    loop {
        if let Some(status) = world.try_wait()? {
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).ok_or_else(|| status.to_string()));
        }
        if signals.wait()? != Signal::SIGCHLD
            && let Ok(pid) = i32::try_from(world.id())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}
