//! The cluster as its file describes it: text in, [`Config`] and every [`Diagnostic`] out.
//!
//! The decoder reads no files and no environment: the caller hands it [`Source`]s, and a secret stays a
//! [`Secret`] that names where its value is to be had.

pub mod codes;
pub mod types;

mod balanced;
mod build;
mod cross;
mod cursor;
mod decode;
mod draft;
mod families;
mod file;
mod fingerprint;
mod foreign;
#[cfg(test)]
mod fuzz_tests;
mod group;
mod held;
mod lint;
mod mask;
mod mistakes;
mod nodes;
mod read;
mod route;
mod scalar;
mod scan;
pub mod scenario;
mod service;
#[cfg(test)]
mod tests;
mod version;
mod vip;

pub use mask::{Masked, masked};
pub use types::*;

use serde::Serialize;

/// The most bytes of one source: a cluster of a thousand vips has a fifth of it.
pub const SIZE_LIMIT: usize = 1 << 20;

/// One file's text and the name that people know it by.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// As given on the command line or reached by `include`: `ha.kdl`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// The text may hold secrets: only its length is shown.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.text.len())
    }
}

/// Bytes of one source: where a mistake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// Index into the sources that were handed in.
    pub source: usize,
    /// First byte.
    pub offset: usize,
    /// Number of bytes, at least 1 where there is text.
    pub len: usize,
}

/// Whether a diagnostic stops the file from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used; what stands there does not do what its author will expect.
    Warning,
}

/// One mistake in a file, as facts: `cli` turns it into words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable: `HA0102`.
    pub code: &'static str,
    /// What is wrong, lower case, no full stop.
    pub title: String,
    /// Where, the first being the place itself, each with what stands there; the others give the context, such as
    /// the first of a pair of duplicates.
    pub labels: Vec<(Span, String)>,
    /// What to write instead; the literal replacement where there is one.
    pub help: Vec<String>,
}

/// Everything that one run over the sources found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The cluster; absent exactly where a diagnostic is an error.
    pub config: Option<Config>,
    /// Every mistake, in the order of the sources.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a cluster from its sources: the file itself, then what it includes, in order.
#[must_use]
pub fn parse(sources: &[Source]) -> Parsed {
    let mut out = mistakes::Mistakes::default();
    let mut decoder = decode::Decoder::new();
    let mut files: Vec<_> = sources.iter().enumerate().map(|(i, s)| file::File::new(i, s)).collect();
    let mut documents = Vec::new();
    for file in &mut files {
        if let Some(document) = read::document(file, &mut out) {
            documents.push((file.index, document));
        }
    }
    for (index, document) in &documents {
        if let Some(file) = files.get(*index) {
            decoder.document(file, document, &mut out);
        }
    }
    decoder.draft.complete(&decoder.defaults);
    cross::check(&decoder.draft, &mut out);
    out.sort();
    let config = if out.has_errors() { None } else { build::Builder { files: &files, draft: &decoder.draft }.config() };
    Parsed { config, diagnostics: out.list }
}

/// The patterns of a source's `include` nodes, in order.
#[must_use]
pub fn includes(source: &Source) -> Vec<String> {
    let mut file = file::File::new(0, source);
    let Some(document) = read::document(&mut file, &mut mistakes::Mistakes::default()) else { return Vec::new() };
    let argument = |node: &kdl::KdlNode| node.get(0).and_then(|v| v.as_string()).map(str::to_owned);
    document.nodes().iter().filter(|n| n.name().value() == "include").filter_map(argument).collect()
}
