//! The cluster as its file describes it: text in, [`Config`] and every [`Diagnostic`] out.
//!
//! The decoder reads no files and no environment: the caller hands it [`Source`]s, and a secret stays a
//! [`Secret`] that names where its value is to be had.

pub mod types;

pub use types::*;

use serde::Serialize;

/// One file's text and the name that people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As given on the command line or reached by `include`: `ha.kdl`.
    pub name: String,
    /// The whole text.
    pub text: String,
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
