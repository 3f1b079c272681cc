//! `hactl render`.

use crate::args::{Arguments, RenderArgs};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn render(_arguments: &Arguments, _args: &RenderArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Failed, what: "not built yet".into(), help: vec![] })
}
