//! `hactl run`.

use crate::args::Arguments;
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn run(_arguments: &Arguments) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
