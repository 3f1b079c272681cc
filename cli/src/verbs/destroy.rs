//! `hactl destroy`.

use crate::args::{Arguments, DestroyArgs};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn destroy(_arguments: &Arguments, _args: &DestroyArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
