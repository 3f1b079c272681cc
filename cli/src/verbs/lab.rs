//! `hactl lab`.

use crate::args::{Arguments, LabArgs};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn lab(_arguments: &Arguments, _args: &LabArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
