//! All I/O of hactl: sees the machine, changes it, keeps it so.
//!
//! Invariants:
//! - decisions are the model's: what is done here was returned by it as a value;
//! - `unsafe` stands in one small module a subsystem, each block with its reason;
//! - every queue, retry and loop has a named limit.

pub mod announce;
pub mod apply;
pub mod check;
mod child;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod driver;
pub mod hot;
pub mod kernel;
pub mod lab;
pub mod lines;
mod memory;
pub mod netns;
pub mod notify;
pub mod secrets;
pub mod socket;
pub mod sources;
mod statedir;
pub mod watch;
