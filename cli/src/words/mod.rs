//! Facts in the words that people read, shared by the verbs.

pub mod plan;
pub mod test;
pub mod wrap;
