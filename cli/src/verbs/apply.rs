//! `hactl apply`.

use crate::args::{ApplyArgs, Arguments};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn apply(_arguments: &Arguments, _args: &ApplyArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
