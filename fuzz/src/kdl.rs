//! Any text as a cluster's file: no panic, and either a configuration or a mistake with its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::config::{Source, parse};

fuzz_target!(|text: &str| {
    let parsed = parse(&[Source { name: "ha.kdl".into(), text: text.into() }]);
    assert!(parsed.config.is_some() || !parsed.diagnostics.is_empty());
    for (span, _) in parsed.diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels) {
        assert!(span.offset + span.len <= text.len(), "{span:?} is outside of {} bytes", text.len());
    }
});
