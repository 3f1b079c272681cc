//! `hactl validate`.

use model::config::{Config, Diagnostic, Source};
use runtime::sources::{self, LoadError};
use serde_json::json;

use crate::args::Arguments;
use crate::node;
use crate::report::{self, Exit, Failure, count};

/// Reports every mistake of the file, or says what it describes.
///
/// # Errors
/// The file has mistakes, which have been printed, or cannot be read.
pub fn validate(arguments: &Arguments) -> Result<Exit, Failure> {
    match sources::load(arguments.file.as_deref()) {
        Ok(loaded) if arguments.json => {
            node::exists(arguments, &loaded.config)?;
            anstream::println!("{}", answer(&loaded.sources, Some(&loaded.config), &loaded.warnings));
            Ok(Exit::Done)
        }
        Ok(loaded) => {
            report::diagnostics(&loaded.sources, &loaded.warnings, false);
            node::exists(arguments, &loaded.config)?;
            anstream::println!("{}", summary(&loaded.config, loaded.warnings.len()));
            Ok(Exit::Done)
        }
        Err(LoadError::Invalid { sources, diagnostics }) if arguments.json => {
            anstream::println!("{}", answer(&sources, None, &diagnostics));
            Ok(Exit::Failed)
        }
        Err(error) => Err(report::unloadable(error, arguments.json)),
    }
}

/// `ok: cluster proxmox-ui: 3 peers, 1 vip, 1 service, 1 check`.
fn summary(config: &Config, warnings: usize) -> String {
    let parts = [
        (config.peers.len(), "peer", "peers"),
        (config.vips.len(), "vip", "vips"),
        (config.services.len(), "service", "services"),
        (config.checks.len(), "check", "checks"),
        (config.sysctls.len(), "sysctl", "sysctls"),
        (warnings, "warning", "warnings"),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(n, ..)| *n > 0).map(|(n, one, many)| count(n, one, many)).collect();
    format!("ok: cluster {}: {}", config.cluster.value, parts.join(", "))
}

fn answer(sources: &[Source], config: Option<&Config>, diagnostics: &[Diagnostic]) -> serde_json::Value {
    let diagnostics: Vec<_> = diagnostics.iter().map(|d| report::diagnostic_json(sources, d)).collect();
    match config {
        None => json!({ "ok": false, "diagnostics": diagnostics }),
        Some(config) => json!({
            "ok": true,
            "cluster": config.cluster.value,
            "peers": config.peers.iter().map(|p| &p.name).collect::<Vec<_>>(),
            "vips": config.vips.iter().map(|v| &v.name).collect::<Vec<_>>(),
            "services": config.services.iter().map(|s| &s.name).collect::<Vec<_>>(),
            "checks": config.checks.iter().map(|c| &c.name).collect::<Vec<_>>(),
            "fingerprint": config.fingerprint().to_string(),
            "diagnostics": diagnostics,
        }),
    }
}
