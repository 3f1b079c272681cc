//! This machine as it is, compared with what it should be.

use model::desired::Desired;
use model::observed::Observed;
use model::plan::Plan;
use runtime::kernel::linux::Linux;
use runtime::kernel::{Kernel, KernelError, record};
use runtime::secrets;

use crate::args::Arguments;

/// What this machine holds of what a plan compares.
///
/// # Errors
/// What could not be seen.
pub fn observe(desired: &Desired, kernel: &mut Linux, arguments: &Arguments) -> Result<Observed, KernelError> {
    // What was recorded says which sysctls have to be looked at beside those wanted.
    kernel.observe(&desired.wanted(&record::load(&arguments.state)?))
}

/// Observes this machine and plans.
///
/// # Errors
/// What could not be seen.
pub fn plan(desired: &Desired, kernel: &mut Linux, arguments: &Arguments) -> Result<Plan, KernelError> {
    Ok(with_secrets(model::plan::plan(desired, &observe(desired, kernel, arguments)?), desired))
}

/// The plan for this very machine: where its secrets are, and the service would refuse them, it says so.
pub fn with_secrets(mut plan: Plan, desired: &Desired) -> Plan {
    plan.notes.extend(secrets::notes(desired));
    plan
}
