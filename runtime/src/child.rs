//! What every program starts with that we start.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;

/// Lets a program hear every signal: a child inherits what the thread that starts it has blocked, and one that cannot
/// be ended by SIGTERM is nobody's wish.
pub fn hear_signals(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only sigprocmask is called, on a set that lives on the stack: nothing is allocated
    // and no lock is taken.
    unsafe { command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(Into::into)) }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn a_child_of_a_thread_that_holds_signals_hears_them() {
        let held: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        held.thread_block().unwrap();
        let mut command = Command::new("grep");
        let output = hear_signals(command.args(["SigBlk", "/proc/self/status"])).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "SigBlk:\t0000000000000000\n");
    }
}
