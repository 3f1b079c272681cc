//! `hactl`: highly available addresses from one file. Here only the exit code is decided; words are in `report`.

mod args;
mod load;
mod machine;
mod node;
mod perform;
mod report;
#[cfg(test)]
mod report_tests;
mod status;
mod verbs;
mod words;

use std::process::ExitCode;

use runtime::daemon;

fn main() -> ExitCode {
    daemon::hold_hangup();
    let arguments = match args::parse() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    if !matches!(arguments.verb, args::Verb::Run) {
        daemon::release_hangup();
    }
    match verbs::dispatch(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => report::failure(&failure, arguments.json).into(),
    }
}
