//! What every verb begins with: the cluster's file, its warnings printed.

use runtime::sources::{self, Loaded};

use crate::args::Arguments;
use crate::report::{self, Failure};

/// Loads the configuration that the command line names and prints its warnings.
///
/// # Errors
/// The mistakes of the file have been printed; the failure says how many.
pub fn load(arguments: &Arguments) -> Result<Loaded, Failure> {
    let loaded = sources::load(arguments.file.as_deref()).map_err(|e| report::unloadable(e, arguments.json))?;
    report::diagnostics(&loaded.sources, &loaded.warnings, arguments.json);
    Ok(loaded)
}
