//! `hactl snapshot`.

use crate::args::{Arguments, SnapshotArgs};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn snapshot(_arguments: &Arguments, _args: &SnapshotArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
