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

fn main() -> ExitCode {
    let arguments = match args::parse() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    match verbs::dispatch(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => report::failure(&failure, arguments.json).into(),
    }
}
