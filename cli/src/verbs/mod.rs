//! One file per verb: arguments in, words out.

mod apply;
mod completions;
mod destroy;
mod drain;
mod lab;
pub mod plan;
pub mod render;
mod restart;
mod run;
mod snapshot;
mod status;
mod test;
mod validate;

use crate::args::{Arguments, Verb};
use crate::report::{Exit, Failure};

/// Performs the verb.
pub fn dispatch(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::Validate => validate::validate(arguments),
        Verb::Plan(args) => plan::plan(arguments, args),
        Verb::Apply(args) => apply::apply(arguments, args),
        Verb::Destroy(args) => destroy::destroy(arguments, args),
        Verb::Render(args) => render::render(arguments, args),
        Verb::Snapshot(args) => snapshot::snapshot(arguments, args),
        Verb::Restart => restart::restart(arguments),
        Verb::Run => run::run(arguments),
        Verb::Status(args) => status::status(arguments, args),
        Verb::Drain(args) => drain::drain(arguments, args),
        Verb::Undrain(args) => drain::undrain(arguments, args),
        Verb::Failover(args) => drain::failover(arguments, args),
        Verb::Test(args) => test::test(arguments, args),
        Verb::Lab(args) => lab::lab(arguments, args),
        Verb::LabInside(args) => lab::inside(arguments, args),
        Verb::Completions { shell } => completions::completions(*shell),
    }
}
