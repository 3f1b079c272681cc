//! Machines on one network segment, each in a network namespace of its own, and the daemons that run on them.

#![allow(dead_code, unused_imports, reason = "each test uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

pub mod asker;
pub mod cluster;
pub mod configuration;
pub mod daemon;
pub mod frame;
pub mod frr;
pub mod holding;
pub mod segment;
pub mod tshark;
pub mod wire;

pub use asker::Asker;
pub use cluster::{Cluster, Software};
pub use daemon::Daemon;
pub use holding::Holding;
pub use segment::Segment;
pub use wire::{Router, Wire};
