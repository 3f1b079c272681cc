//! What should be and what must change: the pure part of hactl.
//!
//! Invariants, chiefly what is absent on purpose:
//! - no I/O, clock, thread, environment or randomness: `clippy.toml` beside this crate disallows them;
//! - effects are values: a function that wants something done returns it, the caller performs it;
//! - time is an argument ([`units::Moment`]), sampled once a turn by the caller;
//! - wrong values cannot be built: text, packets and files are parsed once, at the edge.
#![forbid(unsafe_code)]

pub mod balance;
pub mod config;
pub mod desired;
pub mod health;
pub mod observed;
pub mod plan;
pub mod rules;
pub mod sim;
pub mod units;
pub mod vrrp;
