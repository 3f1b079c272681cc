//! `hactl completions`.

use clap::CommandFactory;

use crate::args::Arguments;
use crate::report::{Exit, Failure};

/// Prints the script.
pub fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    clap_complete::generate(shell, &mut Arguments::command(), "hactl", &mut std::io::stdout());
    Ok(Exit::Done)
}
