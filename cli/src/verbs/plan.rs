//! `hactl plan`.

use crate::args::{Arguments, PlanArgs};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn plan(_arguments: &Arguments, _args: &PlanArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
