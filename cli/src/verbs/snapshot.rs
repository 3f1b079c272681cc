//! `hactl snapshot`.

use crate::args::{Arguments, SnapshotArgs};
use crate::report::{Exit, Failure};
use crate::verbs::plan::observe;
use crate::{load, node};

/// Records what this machine holds, for `plan --live`.
///
/// # Errors
/// The machine cannot be read, or the recording cannot be written.
pub fn snapshot(arguments: &Arguments, args: &SnapshotArgs) -> Result<Exit, Failure> {
    let loaded = load::load(arguments)?;
    let desired = node::desired(arguments, &loaded.config)?;
    let observed = observe(arguments, &desired)?;
    let failed = |what: String| Failure { exit: Exit::Failed, what, help: vec![] };
    let text = serde_json::to_string_pretty(&observed).map_err(|e| failed(format!("the recording: {e}")))?;
    let Some(dir) = &args.out else {
        anstream::println!("{text}");
        return Ok(Exit::Done);
    };
    let path = dir.join(format!("{}.json", desired.peer));
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text + "\n"));
    written.map_err(|e| failed(format!("{} cannot be written: {e}", path.display())))?;
    anstream::println!("{}", path.display());
    Ok(Exit::Done)
}
