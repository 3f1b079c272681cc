//! `hactl status`.

use crate::args::{Arguments, StatusArgs};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn status(_arguments: &Arguments, _args: &StatusArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
